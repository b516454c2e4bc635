"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

__all__ = ["Metrics"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        self.requests = Counter("taskodec_requests", "Requests by path and status.", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "taskodec_request_seconds", "Seconds of a request.", ["path"], buckets=SECONDS, registry=own
        )
        self.wait_seconds = Histogram(
            "taskodec_wait_seconds", "Seconds that a job waited for a worker.", buckets=SECONDS, registry=own
        )
        self.bytes = Counter("taskodec_bytes", "Bytes of bodies, `in` and `out`.", ["path", "direction"], registry=own)
        self.waiting = Gauge("taskodec_waiting_jobs", "Jobs that wait for a worker.", registry=own)
        self.running = Gauge("taskodec_running_jobs", "Jobs that workers are at.", registry=own)
        self.workers = Gauge("taskodec_ready_workers", "Workers that are ready or at work.", registry=own)
        self.steps = Counter("taskodec_steps", "Steps of tuning.", ["task"], registry=own)
        self.together = Counter("taskodec_tuned_together", "Pictures that were tuned with others.", registry=own)
        self.failures = Counter("taskodec_failures", "Answers that are errors, by type.", ["type"], registry=own)
        self.deaths = Counter(
            "taskodec_worker_ends", "Workers that ended: died, killed, overdue, start.", ["reason"], registry=own
        )

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)
