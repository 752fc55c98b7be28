# One image for every Forebay process: the first argument names it (gateway, agent, rank, status, ...).

FROM python:3.11-slim AS build
RUN python -m venv /opt/forebay
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scheduler scheduler
COPY gateway gateway
COPY agent agent
COPY simulator simulator
COPY forebay forebay
RUN /opt/forebay/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin forebay
COPY --from=build /opt/forebay /opt/forebay
ENV PATH=/opt/forebay/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that an orchestrator can check that it is not root.
USER 10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["forebay"]
CMD ["--help"]
