"""What Prometheus would read, as the library that it is written for parses it."""

import re
import socket
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def url_of(server: Server) -> str:
    """Where a server that was told a port says that it shows its metrics."""
    return re.findall(r"http://\S+/metrics", server.log)[-1]


def page(server: Server) -> str:
    with urllib.request.urlopen(url_of(server), timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()


class Scrape:
    """The samples of one reading."""

    def __init__(self, server: Server) -> None:
        self.text = page(server)
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0 where there is none of that name with those labels."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, its), value in self.samples.items() if each == name and wanted <= set(its))

    @property
    def names(self) -> set[str]:
        """What a query may name."""
        return {name for name, _ in self.samples}
