# One image for every process: `web`, `stream`, `worker` and `migrate` are its arguments.
# Redis and PostgreSQL are services of their own there; name them in REDIS_URL and DATABASE_URL.

FROM python:3.13-slim-bookworm AS build
COPY requirements.lock /src/
RUN python -m venv /opt/controller \
 && /opt/controller/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement /src/requirements.lock
COPY . /src/
RUN /opt/controller/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation /src

FROM python:3.13-slim-bookworm
RUN groupadd --gid 10001 controller \
 && useradd --uid 10001 --gid controller --no-create-home --home-dir /tmp --shell /usr/sbin/nologin controller
COPY --from=build /opt/controller /opt/controller
ENV PATH=/opt/controller/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["controller"]
CMD ["--help"]
