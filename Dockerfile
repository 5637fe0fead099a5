# The API, with its files in /data or in S3. docs/self-hosting.md says how to run it.
# The digest is that of the list for all architectures.
ARG BASE=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
WORKDIR /app
COPY requirements.lock ./
# Wheels only, so that nothing has to be compiled on any architecture.
RUN python -m venv /app/.venv && \
    /app/.venv/bin/python -m pip install --require-hashes --only-binary=:all: --no-cache-dir \
        --disable-pip-version-check -r requirements.lock
COPY functions functions
COPY shared shared
COPY local local
# Compiled now, because the root file system can be read-only later.
RUN /app/.venv/bin/python -m compileall -q functions shared local

FROM ${BASE}
WORKDIR /app
COPY --from=build /app /app
# A new volume at /data gets this owner.
RUN install -d -o 10001 -g 10001 /data
USER 10001:10001
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SHARE_STORAGE=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --start-period=60s --timeout=10s CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8080, timeout=9); c.request('GET', '/health'); exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "local.serve", "--host", "0.0.0.0", "--port", "8080"]
