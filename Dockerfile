# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
RUN python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --no-cache-dir .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="feedback-gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH="/opt/gateway/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --home-dir /app --no-create-home gateway \
    && install -d -o gateway -g gateway /app /app/data
WORKDIR /app
COPY --from=build /opt/gateway /opt/gateway
COPY config ./config
USER gateway
VOLUME /app/data
EXPOSE 8787
STOPSIGNAL SIGTERM
# Not /readyz: who restarts what is unhealthy would throw away the rows that wait for a locked database.
# Not urlopen: it would ask the proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8787/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--host", "0.0.0.0"]
