# The service on the CPU:
#   docker build -t taskodec .
#   docker run --rm -p 127.0.0.1:8000:8000 -e TASKODEC_TOKEN=... taskodec
# docs/serve.md has the rest.

FROM python:3.12-slim AS build

WORKDIR /src
RUN python -m venv --without-pip /opt/taskodec
RUN pip --python /opt/taskodec/bin/python install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY codecs codecs
COPY configs configs
COPY plugins plugins
COPY tasks tasks
RUN pip --python /opt/taskodec/bin/python install --no-cache-dir ".[serve,det]" \
    && rm -rf /opt/taskodec/lib/python3.12/site-packages/torch/include

FROM python:3.12-slim

RUN useradd --system --create-home --home-dir /var/lib/taskodec taskodec
COPY --from=build /opt/taskodec /opt/taskodec
ENV PATH=/opt/taskodec/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE
USER taskodec
WORKDIR /var/lib/taskodec
VOLUME /var/lib/taskodec
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["taskodec", "serve", "--host", "0.0.0.0"]
