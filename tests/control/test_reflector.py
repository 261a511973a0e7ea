from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from control.apiserver import ControlPlane
from control.fault_proxy import (
    Distort,
    FaultProxy,
    answer,
    cut_before,
    hold,
    stream_error,
    swapped,
    twice,
    with_the_past,
)
from control.namespaces import CONFIG_MAPS, new_namespace

from presage_operator.client import ApiClient, Retry
from presage_operator.errors import ForbiddenError, JsonObject
from presage_operator.names import Key
from presage_operator.reflector import Reflector

pytestmark = pytest.mark.control

LIST = "/api/v1/.*configmaps"


def config_map(name: str, text: str = "") -> JsonObject:
    labels: JsonObject = {"watched": "yes"}
    metadata: JsonObject = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


def text_of(content: JsonObject) -> str:
    """Trim a ConfigMap to its text; that of a poisonous one cannot be read."""
    text = str(content["data"]["text"])
    if text == "poison":
        raise ValueError(text)
    return text


@dataclass
class Site:
    """A namespace, the proxy before its server, a client that goes round it, and a reflector that goes through it."""

    namespace: str
    proxy: FaultProxy
    direct: ApiClient
    through: ApiClient
    reflector: Reflector[str]
    told: list[tuple[str, str | None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, name: str, text: str = "") -> JsonObject:
        return await self.direct.create(CONFIG_MAPS, self.namespace, config_map(name, text))

    async def change(self, name: str, text: str) -> JsonObject:
        return await self.direct.patch(CONFIG_MAPS, self.namespace, name, {"data": {"text": text}})

    async def delete(self, name: str) -> None:
        await self.direct.delete(CONFIG_MAPS, self.namespace, name)

    def key(self, name: str) -> Key:
        return Key(self.namespace, name)

    def tell(self, key: Key, value: str | None) -> None:
        self.told.append((key.name, value))
        self.changed.set()

    async def until(self, *told: tuple[str, str | None]) -> None:
        """Wait until all of these were told."""
        while not set(told) <= set(self.told):
            self.changed.clear()
            await self.changed.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the reflector, and be there once it watches."""
        task = asyncio.ensure_future(self.reflector.run())
        try:
            await self.reflector.synced.wait()
            await self.proxy.watched()
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


@contextlib.asynccontextmanager
async def site(plane: ControlPlane, **options: object) -> AsyncIterator[Site]:
    async with FaultProxy(plane) as proxy, FaultProxy(plane) as quiet:
        once = Retry(attempts=1)
        async with ApiClient(quiet.credentials()) as direct, ApiClient(proxy.credentials(), retry=once) as through:
            namespace = await new_namespace(direct)

            def tell(key: Key, value: str | None) -> None:
                here.tell(key, value)

            # No jitter, no wait: what is tried again is tried at once.
            reflector = Reflector(
                through,
                CONFIG_MAPS,
                text_of,
                tell,
                **({"labels": "watched", "namespaces": (namespace,), "jitter": lambda: 0.0} | options),
            )
            here = Site(namespace, proxy, direct, through, reflector)
            yield here


def run(plane: ControlPlane, test: Callable[[Site], Awaitable[None]], **options: object) -> None:
    async def driven() -> None:
        async with asyncio.timeout(120), site(plane, **options) as here:
            await test(here)

    asyncio.run(driven())


def test_objects_are_listed_and_their_changes_told(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a", "1")
        await here.create("b", "1")
        async with here.running():
            assert here.told == [("a", "1"), ("b", "1")]
            await here.create("c", "1")
            await here.change("a", "2")
            await here.delete("b")
            await here.until(("c", "1"), ("a", "2"), ("b", None))
            assert sorted(here.reflector.values()) == ["1", "2"]
            assert here.reflector.get(here.key("a")) == "2"
            assert here.reflector.get(here.key("b")) is None
            assert here.reflector.fault is None

    run(plane, test)


def test_those_that_go_first_are_told_before_all_others(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        for name in ("a", "b", "c", "z"):
            await here.create(name)
        async with here.running():
            await here.create("new")
            await here.until(("new", ""))
        assert [name for name, _ in here.told] == ["z", "a", "b", "c", "new"]

    run(plane, test, first="metadata.name=z", page_size=2)


def test_a_server_that_cannot_say_who_goes_first_still_tells_of_all(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a")
        await here.create("b")
        async with here.running():
            assert [name for name, _ in here.told] == ["a", "b"]
            assert here.reflector.fault is None

    run(plane, test, first="status.phase=")


def test_objects_without_the_label_or_of_other_namespaces_are_not_held(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        plain: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}}
        await here.direct.create(CONFIG_MAPS, here.namespace, plain)
        await here.direct.create(CONFIG_MAPS, "default", config_map(f"else-{here.namespace}"))
        await here.create("mine", "1")
        async with here.running():
            assert here.reflector.values() == ["1"]

    run(plane, test)


def test_objects_of_the_whole_cluster_are_told_with_their_namespaces(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a", here.namespace)
        async with here.running():
            assert here.reflector.get(here.key("a")) == here.namespace
            await here.delete("a")
            await here.until(("a", None))

    run(plane, test, namespaces=())


def test_changes_while_the_watch_is_cut_off_are_not_missed(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("gone", "1")
        async with here.running():
            await here.change("gone", "2")
            await here.until(("gone", "2"))
            here.proxy.add(cut_before, watch=True, times=3)
            here.proxy.cut_watches()
            await here.create("new", "1")
            await here.delete("gone")
            await here.until(("new", "1"), ("gone", None))
            assert here.told == [("gone", "1"), ("gone", "2"), ("new", "1"), ("gone", None)]
            lists = [seen for seen in here.proxy.requests if "watch" not in seen.query]
            assert len(lists) == 1  # it went on where it was

    run(plane, test)


@pytest.mark.parametrize(
    "fault", [answer(410, reason="Expired"), stream_error(410, "Expired")], ids=["answer", "event"]
)
def test_after_a_version_expired_only_the_differences_are_told(plane: ControlPlane, fault: object) -> None:
    async def test(here: Site) -> None:
        for name in ("same", "changed", "gone"):
            await here.create(name, "1")
        async with here.running():
            here.told.clear()
            back = asyncio.Event()
            here.proxy.add(hold(back), watch=True)
            here.proxy.add(fault, watch=True)
            here.proxy.cut_watches()
            await here.change("changed", "2")
            await here.delete("gone")
            await here.create("new", "1")
            here.proxy.rules.pop(0)
            back.set()
            here.proxy.cut_watches()
            await here.until(("changed", "2"), ("gone", None), ("new", "1"))
            assert sorted(here.told, key=str) == [("changed", "2"), ("gone", None), ("new", "1")]

    run(plane, test)


def test_a_list_that_expires_between_its_pages_is_begun_anew(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        for number in range(5):
            await here.create(f"m{number}", "1")
        here.proxy.add(answer(410, reason="Expired"), skip=1)
        async with here.running():
            assert sorted(here.told) == [(f"m{number}", "1") for number in range(5)]
            assert [seen.code for seen in here.proxy.requests][:5] == [200, 410, 200, 200, 200]

    run(plane, test, page_size=2)


@pytest.mark.parametrize("distort", [twice, with_the_past, swapped], ids=["twice", "past", "swapped"])
def test_events_that_come_twice_or_in_another_order_change_nothing(plane: ControlPlane, distort: Distort) -> None:
    async def test(here: Site) -> None:
        await here.create("kept", "1")
        here.proxy.distort = distort
        async with here.running():
            for text in ("2", "3", "4"):
                await here.change("kept", text)
            await here.create("gone", "1")
            await here.change("gone", "2")
            await here.delete("gone")
            await here.create("end", "1")
            await here.create("end-too", "1")
            await here.until(("end", "1"), ("end-too", "1"))
            assert here.reflector.get(here.key("kept")) == "4"
            assert here.reflector.get(here.key("gone")) is None
            assert len(here.told) == len(set(here.told))
            of_kept = [value for name, value in here.told if name == "kept"]
            assert of_kept == sorted(of_kept)

    run(plane, test)


def test_a_name_that_is_used_again_is_another_object(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.distort = with_the_past
        async with here.running():
            await here.create("a", "first")
            await here.delete("a")
            await here.create("a", "second")
            await here.until(("a", "second"))
            await here.create("end")
            await here.until(("end", ""))
            assert here.told == [("a", "first"), ("a", None), ("a", "second"), ("end", "")]

    run(plane, test)


def test_a_silent_watch_is_opened_again(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.distort = lambda events: []  # as a connection that died unnoticed
        async with here.running():
            await here.create("a", "1")
            here.proxy.distort = None
            await here.until(("a", "1"))

    run(plane, test, silence_seconds=0.3)


def test_what_is_forbidden_is_told_as_a_fault_until_it_is_granted(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a", "1")
        asked = asyncio.Event()
        here.proxy.add(answer(403, reason="Forbidden", message="not for you"), times=2)
        here.proxy.add(hold(asked))
        task = asyncio.ensure_future(here.reflector.run())
        while len(here.proxy.requests) < 2 or here.reflector.fault is None:
            await asyncio.sleep(0)
        assert isinstance(here.reflector.fault, ForbiddenError)
        assert "not for you" in str(here.reflector.fault)
        assert not here.reflector.synced.is_set()
        asked.set()
        await here.until(("a", "1"))
        await here.proxy.watched()
        await here.change("a", "2")
        await here.until(("a", "2"))
        assert here.reflector.fault is None
        task.cancel()
        await asyncio.wait({task})

    run(plane, test)


def test_an_object_that_cannot_be_read_hides_no_other(plane: ControlPlane, caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Site) -> None:
        await here.create("a", "poison")
        await here.create("b", "1")
        async with here.running():
            await here.create("c", "poison")
            await here.create("d", "1")
            await here.until(("d", "1"))
            assert [name for name, _ in here.told] == ["b", "d"]
            await here.change("a", "2")
            await here.until(("a", "2"))

    run(plane, test)
    assert "a cannot be read" in caplog.text


def test_own_writes_are_seen_at_once_and_their_echo_is_not_told(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        async with here.running():
            here.reflector.put(await here.create("a", "1"))
            assert here.reflector.get(here.key("a")) == "1"
            here.reflector.put(await here.change("a", "2"))
            assert here.reflector.get(here.key("a")) == "2"
            await here.create("end")
            await here.until(("end", ""))
            assert here.told == [("a", "1"), ("a", "2"), ("end", "")]
            await here.delete("a")
            here.reflector.drop(here.key("a"))
            assert here.reflector.get(here.key("a")) is None
            here.reflector.drop(here.key("a"))
            await here.delete("end")
            await here.until(("end", None))
            assert here.told[3:] == [("a", None), ("end", None)]

    run(plane, test)


def test_an_answer_that_comes_late_does_not_undo_what_is_known(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        async with here.running():
            created = await here.create("a", "1")
            await here.change("a", "2")
            await here.until(("a", "2"))
            here.reflector.put(created)
            assert here.reflector.get(here.key("a")) == "2"
            await here.delete("a")
            await here.until(("a", None))
            here.reflector.put(created)
            assert here.reflector.get(here.key("a")) is None

    run(plane, test)


def test_an_answer_from_before_the_first_list_brings_back_nothing_that_is_gone(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        created = await here.create("a", "1")
        await here.delete("a")
        async with here.running():
            here.reflector.put(created)
            assert here.reflector.values() == []

    run(plane, test)


def test_what_is_written_while_a_list_is_under_way_stays(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        for name in ("a", "b", "c"):
            await here.create(name, "1")
        async with here.running():
            go_on = asyncio.Event()
            here.proxy.add(answer(410, reason="Expired"), watch=True)
            pages = here.proxy.add(hold(go_on), watch=False, skip=1)
            here.proxy.cut_watches()
            while pages.met < 2:  # the first page has come, the others are as of the same version
                await asyncio.sleep(0)
            here.reflector.put(await here.create("new", "1"))
            here.reflector.put(await here.change("c", "2"))
            await here.delete("b")
            here.reflector.drop(here.key("b"))
            here.told.clear()
            go_on.set()
            await here.proxy.watched()
            await here.create("end")
            await here.until(("end", ""))
            assert here.told == [("end", "")]
            held = {name: here.reflector.get(here.key(name)) for name in ("a", "b", "c", "new")}
            assert held == {"a": "1", "b": None, "c": "2", "new": "1"}

    run(plane, test, page_size=1)


def test_a_long_list_leaves_turns_to_others(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        numbers = range(600)
        await asyncio.gather(*(here.create(f"m{number:03}", "1") for number in numbers))
        held: set[int] = set()
        task = asyncio.ensure_future(here.reflector.run())
        while not here.reflector.synced.is_set():
            held.add(len(here.reflector))
            await asyncio.sleep(0)
        assert set(range(50, 600, 50)) <= held
        sizes = [seen.query["limit"] for seen in here.proxy.requests if "limit" in seen.query]
        assert sizes == ["100"] * 6
        task.cancel()
        await asyncio.wait({task})

    run(plane, test)


def test_a_restarted_api_server_costs_no_change(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a", "1")
        async with here.running():
            await asyncio.to_thread(plane.restart_api_server)
            await here.change("a", "2")
            await here.create("b", "1")
            await here.until(("a", "2"), ("b", "1"))
            assert here.told == [("a", "1"), ("a", "2"), ("b", "1")]

    # While the server is away tries would follow each other without a wait.
    run(plane, test, jitter=lambda: 0.5)


def test_a_watch_that_ends_at_once_is_opened_with_growing_waits(plane: ControlPlane) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def test(here: Site) -> None:
        here.proxy.add(answer(429), watch=True, times=4)
        async with here.running():
            assert waits == [0.1, 0.2, 0.4, 0.8]

    run(plane, test, jitter=lambda: 1.0, sleep=sleep)


def test_each_of_several_namespaces_is_followed_on_its_own(plane: ControlPlane) -> None:
    async def test() -> None:
        async with asyncio.timeout(120), site(plane) as one, site(plane) as two:
            told: list[Key] = []
            reflector = Reflector(
                one.through,
                CONFIG_MAPS,
                text_of,
                lambda key, value: told.append(key),
                labels="watched",
                namespaces=(one.namespace, two.namespace),
                jitter=lambda: 0.0,
            )
            await one.create("a", "1")
            await two.create("a", "2")
            task = asyncio.ensure_future(reflector.run())
            await reflector.synced.wait()
            await one.proxy.watched(2)
            assert sorted(told) == sorted([Key(one.namespace, "a"), Key(two.namespace, "a")])
            one.proxy.add(answer(410, reason="Expired"), watch=True)
            one.proxy.cut_watches()
            await one.proxy.watched(2)  # one of them was listed anew, which took nothing from the other
            assert [reflector.get(Key(site.namespace, "a")) for site in (one, two)] == ["1", "2"]
            assert len(told) == 2
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(test())
