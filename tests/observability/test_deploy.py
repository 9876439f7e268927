"""The dashboard, the alerts and the page about them, held against what a running server shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from memsvc_client import Entry, NotFoundError

from tests.observability.scrape import Scrape

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
PROMETHEUS = {"up": {"job", "instance"}}
"""What Prometheus adds by itself."""
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


class Exported:
    """What a server's page offers to queries."""

    def __init__(self, scrape: Scrape) -> None:
        self.scrape = scrape
        self.names = {
            f"{family.name}{suffix}" for family in scrape.families for suffix in SUFFIXES.get(family.type, ("",))
        }
        self.documented = {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in scrape.families
            if family.name.startswith("memsvc_")
        }

    def labels(self, name: str) -> set[str]:
        """The labels of its samples; nothing where there are none yet."""
        return {label for each, labels in self.scrape.samples for label, _ in labels if each == name}

    def values(self, name: str, label: str) -> set[str]:
        return {dict(labels).get(label, "") for each, labels in self.scrape.samples if each == name}


@pytest.fixture(scope="module")
def exported(server) -> Exported:
    with server.client() as client:
        client.create_tenant("t")
        client.write("t", [Entry("a thing")], wait="applied")
        client.recall("t", "thing")
        client.hot_restart("t")
        with pytest.raises(NotFoundError):
            client.recall("none", "thing")
    return Exported(Scrape(server))


def alerts() -> list[dict[str, Any]]:
    return [
        rule
        for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]


def panels() -> list[dict[str, Any]]:
    return json.loads((ROOT / "deploy/grafana/memsvc.json").read_text())["panels"]


def queries() -> dict[str, str]:
    """Every query, by where it stands; Grafana's variables filled in."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in alerts()}
    for panel in panels():
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            found[f"panel {panel['title']} {target['refId']}"] = expression
    return found


def selectors(expression: Any) -> Iterator[Any]:
    """Every selector in a query, wherever it stands."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    elif isinstance(expression, promql_parser.MatrixSelector):
        yield expression.vector_selector
    else:
        for name in ("lhs", "rhs", "expr", "param"):
            if (part := getattr(expression, name, None)) is not None:
                yield from selectors(part)
        for argument in getattr(expression, "args", ()):
            yield from selectors(argument)


@pytest.mark.parametrize("where", queries())
def test_a_query_parses_and_asks_for_what_there_is(exported, where) -> None:
    found = list(selectors(promql_parser.parse(queries()[where])))
    assert found, "a query asks for something"
    for selector in found:
        if selector.name in PROMETHEUS:
            continue
        assert selector.name in exported.names, selector.name
        for matcher in selector.matchers.matchers:
            if matcher.name in {"job", "instance"}:
                continue
            if (labels := exported.labels(selector.name)) and matcher.name not in labels:
                pytest.fail(f"{selector.name} has no label {matcher.name}")
            if matcher.op == promql_parser.MatchOp.Equal and matcher.name in {"method", "operation", "phase"}:
                assert matcher.value in exported.values(selector.name, matcher.name)


def test_every_metric_of_ours_is_on_the_dashboard_or_wakes_someone(exported) -> None:
    asked = {selector.name for query in queries().values() for selector in selectors(promql_parser.parse(query))}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    assert exported.documented <= shown | {"memsvc_write_seconds"}
    assert {"memsvc_write_seconds_sum", "memsvc_write_seconds_count"} <= asked


def test_the_page_names_every_metric_and_none_that_is_not_there(exported) -> None:
    named = set(re.findall(r"\bmemsvc_[a-z_]+[a-z]\b", PAGE))
    assert named == exported.documented


def test_every_alert_says_what_to_do_under_a_heading_of_its_own() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).replace(" ", "-").lower()
        for line in PAGE.splitlines()
        if line[:1] == "#"
    }
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor) == ("docs/operations.md", rule["alert"].lower())
        assert anchor in headings
        if "for" in rule:
            promql_parser.parse_duration(rule["for"])
    about = PAGE[PAGE.index("## Every alert") : PAGE.index("## How large")]
    assert set(re.findall(r"^### (\w+)$", about, re.M)) == {rule["alert"] for rule in rules}


def test_links_on_the_page_lead_to_headings_that_are_there() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).replace(" ", "-").lower()
        for line in PAGE.splitlines()
        if line[:1] == "#"
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


def test_the_dashboard_can_be_drawn() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/memsvc.json").read_text())
    assert dashboard["uid"] == "memsvc"
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps(panels()))) - {"__rate_interval"}
    assert used == variables
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]


def test_prometheus_and_grafana_are_told_where_things_are() -> None:
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert prometheus["rule_files"] == ["alerts.yml"]
    assert [job["job_name"] for job in prometheus["scrape_configs"]] == ["memsvc"]
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards/memsvc.yml").read_text())["providers"]
    assert provider["type"] == "file"
