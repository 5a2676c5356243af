import re
from html.parser import HTMLParser

import pytest

from loadtest.report_html import render
from loadtest.results import Step, Usage
from tests.unit.loadtest.made_results import MIB, histogram, result, second, step

SEARCH = result(
    step(500.0, held=True),
    step(2000.0, held=False, done={"send": 110_000}, latency={"delivered": histogram(90)}),
    step(1000.0, held=True),
    objective_ms=40.0,
    saturation=1000.0,
)


@pytest.fixture(scope="module")
def search_page() -> str:
    return render(SEARCH)


class Page(HTMLParser):
    """The text of a page, its elements, and everything that it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        named = {name.split(":")[-1]: value or "" for name, value in attrs}
        self.references.extend(named[name] for name in ("href", "src") if name in named)
        self.ids.extend(value for name, value in named.items() if name == "id")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_page_holds_the_figures_of_the_result() -> None:
    text = Page(render(result(step(errors={"overloaded": 12})))).text
    assert "pairs on one node on sqlite" in text
    assert "sound verdict" in text
    assert "1,000/s done, of 1,000/s offered" in text
    assert "delivered 3 - 2.00 4.00 4.00 4.00 4.00" in text
    assert "send 1 1,000/s 0.500 0.500 0.500 0.500 0.500" in text
    assert "1,000/s 1,000/s 60.0 s 0.250 ms 37 % sound 12 x overloaded none" in text
    assert "1,000/s 0.0200 0.100 80.0 50.0" in text


def test_the_page_says_where_it_was_measured() -> None:
    text = Page(render(result(step()))).text
    assert "a processor, 2 cores" in text
    assert "8.00 GiB" in text
    assert "commit 3b32a9f" in text
    assert "STORE sqlite" in text
    assert "connections 200" in text


def test_the_step_that_was_held_stands_for_a_search(search_page: str) -> None:
    text = Page(search_page).text
    assert "1,000/s saturation, at p99 ≤ 40.0 ms" in text
    assert "4.00 ms p99 of delivered" in text
    assert "All operations of one step: 1,000/s." in text
    assert "Throughput against latency" in text
    assert "objective of p99" in text


@pytest.mark.parametrize(
    ("spoilt", "verdict", "reason"),
    [
        (step(faults={"never delivered": 3}), "wrong verdict", "3 x never delivered"),
        (step(invalid=["it was late"]), "proves nothing verdict", "proves nothing: it was late"),
    ],
    ids=["wrong", "invalid"],
)
def test_a_run_of_no_worth_says_so_first(spoilt: Step, verdict: str, reason: str) -> None:
    header = Page(render(result(spoilt))).text.partition("Steps")[0]
    assert verdict in header
    assert reason in header


def test_the_page_needs_nothing_else(search_page: str) -> None:
    page = Page(search_page)
    assert "svg" in page.elements
    assert not {"script", "link", "img", "image", "iframe", "object"} & set(page.elements)
    assert [one for one in page.references if not one.startswith("#")] == []
    assert {one.removeprefix("#") for one in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "url(http" not in search_page
    assert "@import" not in search_page


def test_words_of_the_result_are_text_wherever_they_stand() -> None:
    mark = "<script>alert(1)</script>"
    name = "$x_$ <script>"
    found = result(
        step(
            latency={name: histogram(1), "delivered": histogram(2)},
            usage={name: Usage(1.0, MIB)},
            timeline=[second(1, cores={name: 0.5}), second(2, cores={name: 0.5})],
            faults={mark: 1},
        ),
        name=mark,
        description=mark,
        settings={mark: mark},
        scenario={"nested": {"text": mark}},
    )
    page = Page(render(found))
    assert "script" not in page.elements
    assert page.text.count(name) >= 3
    assert page.text.count(mark) >= 6


def test_a_crowd_that_does_nothing_has_a_report() -> None:
    silence = [second(at, rate=0.0, p50_ms=None, p95_ms=None, p99_ms=None) for at in (1, 2)]
    own = {"KiB per connection": 22.4}
    idle = step(None, done={}, latency={"delivered": histogram()}, timeline=silence, figures=own)
    text = Page(render(result(idle, target="a node"))).text
    assert "sound verdict 22.4 KiB per connection" in text
    assert "no load 0/s 60.0 s 0.250 ms 37 % 22.4 sound none none" in text
    assert "Cores and memory" in text
    assert "Percentiles of delivered" not in text
    assert "in flight" not in text


def test_a_result_without_seconds_or_steps_has_a_report() -> None:
    assert "Cores and memory" not in Page(render(result(step(timeline=[])))).text
    assert "sound verdict" in Page(render(result())).text


def test_the_same_result_gives_the_same_bytes(search_page: str) -> None:
    assert render(SEARCH) == search_page
