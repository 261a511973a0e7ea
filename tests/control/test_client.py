from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import kopf
import pytest
import yaml
from aiohttp import web
from control.apiserver import ControlPlane
from control.cases import MINIMAL
from control.fault_proxy import FaultProxy, answer, cut_after, cut_before, stream_error
from control.namespaces import CONFIG_MAPS, NAMESPACES, new_namespace

from presage.errors import JobError
from presage_operator.client import ApiClient, Backoff, Resource, Retry
from presage_operator.credentials import Credentials, from_connection, from_service_account
from presage_operator.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    JsonObject,
    NotFoundError,
    ServerFaultError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)

pytestmark = pytest.mark.control

JOBS = Resource("presage.dev", "v1alpha1", "predictionjobs")
RETRY = Retry(attempts=4, total_seconds=30, backoff=Backoff(first_seconds=1, most_seconds=8))


@dataclass
class SleepClock:
    """Time that passes only while somebody sleeps."""

    seconds: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds


@dataclass
class Site:
    """A namespace, the proxy before its server, and a client that goes through it."""

    namespace: str
    proxy: FaultProxy
    client: ApiClient
    clock: SleepClock
    told: list[tuple[str, str, int]]

    def codes(self, method: str) -> list[int]:
        return [seen.code for seen in self.proxy.requests if seen.method == method]

    async def create(self, name: str, **data: str) -> JsonObject:
        return await self.client.create(CONFIG_MAPS, self.namespace, config_map(name, **data))


def config_map(name: str, **data: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def run(plane: ControlPlane, test: Callable[[Site], Awaitable[None]]) -> None:
    async def driven() -> None:
        async with asyncio.timeout(120), site(plane) as here:
            await test(here)

    asyncio.run(driven())


@contextlib.asynccontextmanager
async def site(plane: ControlPlane) -> AsyncIterator[Site]:
    clock = SleepClock()
    told: list[tuple[str, str, int]] = []
    async with FaultProxy(plane) as proxy:
        client = ApiClient(
            proxy.credentials(),
            retry=RETRY,
            observer=lambda method, resource, code, seconds: told.append((method, resource.plural, code)),
            clock=lambda: clock.seconds,
            sleep=clock.sleep,
            jitter=lambda: 0.5,
        )
        async with client:
            namespace = await new_namespace(client)
            proxy.requests.clear()
            told.clear()
            yield Site(namespace, proxy, client, clock, told)


def test_an_object_is_created_read_applied_patched_and_deleted(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        client, namespace = here.client, here.namespace
        created = await here.create("a", x="1")
        assert await client.get(CONFIG_MAPS, namespace, "a") == created
        applied = await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="2", y="3"))
        assert applied["data"] == {"x": "2", "y": "3"}
        patched = await client.patch(CONFIG_MAPS, namespace, "a", {"data": {"y": None}})
        assert patched["data"] == {"x": "2"}
        await client.delete(CONFIG_MAPS, namespace, "a")
        with pytest.raises(NotFoundError):
            await client.get(CONFIG_MAPS, namespace, "a")

    run(plane, test)


def test_what_is_applied_again_unchanged_is_not_written(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        first = await here.client.apply(CONFIG_MAPS, here.namespace, "a", config_map("a", x="1"))
        again = await here.client.apply(CONFIG_MAPS, here.namespace, "a", config_map("a", x="1"))
        assert again["metadata"] == first["metadata"]

    run(plane, test)


def test_a_list_comes_in_pages_of_one_version(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        for number in range(7):
            await here.create(f"m{number}")
        pages = [page async for page in here.client.pages(CONFIG_MAPS, here.namespace, size=3)]
        assert [len(page.items) for page in pages] == [3, 3, 1]
        assert len({page.resource_version for page in pages}) == 1
        whole = await here.client.list(CONFIG_MAPS, here.namespace)
        assert [item["metadata"]["name"] for item in whole.items] == [f"m{number}" for number in range(7)]

    run(plane, test)


def test_a_list_holds_only_what_its_labels_select(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("plain")
        marked = config_map("marked")
        marked["metadata"] = {"name": "marked", "labels": {"team": "desk"}}
        await here.client.create(CONFIG_MAPS, here.namespace, marked)
        page = await here.client.list(CONFIG_MAPS, here.namespace, labels="team in (desk,floor)")
        assert [item["metadata"]["name"] for item in page.items] == ["marked"]

    run(plane, test)


def test_a_kind_that_the_server_lacks_is_not_served(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        served = [
            await here.client.serves(kind)
            for kind in (
                CONFIG_MAPS,
                Resource("apps", "v1", "deployments"),
                Resource("apps", "v1", "inventions"),
                Resource("serving.kserve.io", "v1beta1", "inferenceservices"),
            )
        ]
        assert served == [True, True, False, False]

    run(plane, test)


def test_a_name_that_is_taken_is_told_and_not_tried_again(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a")
        with pytest.raises(AlreadyExistsError) as caught:
            await here.create("a")
        assert not caught.value.retry
        assert here.codes("POST") == [201, 409]

    run(plane, test)


def test_a_status_for_a_stale_version_is_a_conflict_and_not_tried_again(
    plane: ControlPlane, definition: object
) -> None:
    async def test(here: Site) -> None:
        job: JsonObject = yaml.safe_load(MINIMAL)
        created = await here.client.create(JOBS, here.namespace, job)
        version = str(created["metadata"]["resourceVersion"])
        patched = await here.client.patch_status(JOBS, here.namespace, "minimal", {"phase": "Training"}, version)
        assert patched["status"]["phase"] == "Training"
        with pytest.raises(ConflictError) as caught:
            await here.client.patch_status(JOBS, here.namespace, "minimal", {"phase": "Serving"}, version)
        assert caught.value.retry
        assert here.codes("PATCH") == [200, 409]
        held = await here.client.get(JOBS, here.namespace, "minimal")
        assert held["status"]["phase"] == "Training"

    run(plane, test)


def test_a_busy_server_is_asked_again_after_the_time_that_it_tells(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(answer(429, headers={"Retry-After": "7"}), method="POST", times=2)
        await here.create("a")
        assert here.clock.sleeps == [7, 7]
        assert here.codes("POST") == [429, 429, 201]

    run(plane, test)


def test_a_wait_that_is_told_but_too_long_is_left_to_the_caller(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(answer(429, headers={"Retry-After": "120"}), method="POST")
        with pytest.raises(TooManyRequestsError) as caught:
            await here.create("a")
        assert (caught.value.retry_after, here.clock.sleeps) == (120, [])

    run(plane, test)


def test_a_burst_of_server_faults_is_outlasted_with_growing_waits(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        for status in (500, 503, 504):
            here.proxy.add(answer(status), method="POST")
        await here.create("a")
        assert here.clock.sleeps == [0.5, 1, 2]  # a half, which the jitter here is, of 1, 2 and 4
        assert here.codes("POST") == [500, 503, 504, 201]

    run(plane, test)


def test_a_server_that_keeps_failing_is_given_up(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(answer(503, message="etcd is away"), times=None)
        with pytest.raises(ServerFaultError, match="etcd is away"):
            await here.client.get(CONFIG_MAPS, here.namespace, "a")
        assert here.codes("GET") == [503] * RETRY.attempts

    run(plane, test)


def test_tries_end_when_the_time_for_them_is_over(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(answer(429, headers={"Retry-After": "14"}), times=None)
        with pytest.raises(TooManyRequestsError):
            await here.client.get(CONFIG_MAPS, here.namespace, "a")
        assert here.clock.sleeps == [14, 14]  # a third wait would end after 42 seconds of 30

    run(plane, test)


def test_a_lost_connection_is_made_again(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(cut_before, method="POST", times=2)
        await here.create("a")
        assert here.codes("POST") == [0, 0, 201]

    run(plane, test)


def test_a_create_whose_answer_was_lost_tells_that_the_object_is_there(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(cut_after, method="POST")
        with pytest.raises(AlreadyExistsError):
            await here.create("a")
        assert len((await here.client.list(CONFIG_MAPS, here.namespace)).items) == 1

    run(plane, test)


def test_an_apply_whose_answer_was_lost_is_done_once(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(cut_after, method="PATCH")
        applied = await here.client.apply(CONFIG_MAPS, here.namespace, "a", config_map("a", x="1"))
        assert applied["data"] == {"x": "1"}
        assert here.codes("PATCH") == [0, 200]

    run(plane, test)


def test_a_write_to_one_version_whose_answer_was_lost_is_a_conflict(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        created = await here.create("a")
        here.proxy.add(cut_after, method="PATCH")
        version = created["metadata"]["resourceVersion"]
        body: JsonObject = {"metadata": {"resourceVersion": version}, "data": {"x": "1"}}
        with pytest.raises(ConflictError):
            await here.client.patch(CONFIG_MAPS, here.namespace, "a", body)
        assert (await here.client.get(CONFIG_MAPS, here.namespace, "a"))["data"] == {"x": "1"}

    run(plane, test)


def test_an_object_is_deleted_only_if_it_is_the_one_that_is_meant(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        created = await here.create("a")
        with pytest.raises(ConflictError):
            await here.client.delete(CONFIG_MAPS, here.namespace, "a", uid="another")
        await here.client.delete(CONFIG_MAPS, here.namespace, "a", uid=str(created["metadata"]["uid"]))
        with pytest.raises(NotFoundError):
            await here.client.delete(CONFIG_MAPS, here.namespace, "a")

    run(plane, test)


def test_children_of_a_deleted_object_are_treated_as_told(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        await here.create("a")
        await here.client.delete(CONFIG_MAPS, here.namespace, "a", propagation="Foreground")
        held = await here.client.get(CONFIG_MAPS, here.namespace, "a")  # it stays for the collector to end it
        assert held["metadata"]["finalizers"] == ["foregroundDeletion"]

    run(plane, test)


def test_a_wrong_object_is_refused_with_the_server_s_own_words(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        with pytest.raises(InvalidError, match=r"422: .*Invalid value: \"Upper\"") as caught:
            await here.create("Upper")
        assert not caught.value.retry
        assert here.codes("POST") == [422]

    run(plane, test)


@pytest.mark.parametrize(("authorization", "error"), [("", ForbiddenError), ("Bearer not-a-token", UnauthorizedError)])
def test_credentials_that_do_not_suffice_are_told_apart(
    plane: ControlPlane, authorization: str, error: type[ApiError]
) -> None:
    async def test(here: Site) -> None:
        credentials = Credentials(here.proxy.url, ssl.create_default_context(), authorization)
        async with ApiClient(credentials, sleep=here.clock.sleep) as stranger:
            with pytest.raises(error):
                await stranger.get(CONFIG_MAPS, here.namespace, "a")
        assert here.clock.sleeps == []

    run(plane, test)


def test_a_token_that_was_renewed_is_read_again_after_a_minute(plane: ControlPlane, tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        file = tmp_path / "token"
        file.write_text(f"{plane.token}\n")
        credentials = Credentials(here.proxy.url, ssl.create_default_context(), token_file=file)
        async with ApiClient(credentials, clock=lambda: here.clock.seconds, sleep=here.clock.sleep) as client:
            await client.list(CONFIG_MAPS, here.namespace)
            file.write_text("not-a-token")
            here.clock.seconds += 59
            await client.list(CONFIG_MAPS, here.namespace)  # with the token that it knows
            here.clock.seconds += 1
            with pytest.raises(UnauthorizedError):
                await client.list(CONFIG_MAPS, here.namespace)
            file.write_text(plane.token)
            await client.list(CONFIG_MAPS, here.namespace)  # refused once, then with the file's new token

    run(plane, test)


def test_a_token_file_that_is_missing_for_a_moment_is_waited_for(plane: ControlPlane, tmp_path: Path) -> None:
    async def test(here: Site) -> None:
        credentials = Credentials(here.proxy.url, ssl.create_default_context(), token_file=tmp_path / "token")

        async def sleep(seconds: float) -> None:
            (tmp_path / "token").write_text(plane.token)

        async with ApiClient(credentials, sleep=sleep) as client:
            await client.list(CONFIG_MAPS, here.namespace)

    run(plane, test)


def test_a_server_whose_certificate_is_not_trusted_is_not_talked_to(plane: ControlPlane) -> None:
    async def test() -> None:
        credentials = Credentials(plane.url, ssl.create_default_context(), f"Bearer {plane.token}")
        async with ApiClient(credentials, retry=Retry(attempts=1)) as client:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await client.list(NAMESPACES)

    asyncio.run(test())


def test_what_kopf_logged_in_with_reaches_the_server(plane: ControlPlane) -> None:
    async def test() -> None:
        info = kopf.ConnectionInfo(server=plane.url, ca_path=plane.certificate, token=plane.token)
        credentials = from_connection(info)
        assert plane.token not in repr(credentials)
        async with ApiClient(credentials) as client:
            assert (await client.list(NAMESPACES)).items

    asyncio.run(test())


def test_a_kubeconfig_s_proxy_is_gone_through(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        info = kopf.ConnectionInfo(server="http://api.invalid", token=plane.token, proxy_url=here.proxy.url)
        async with ApiClient(from_connection(info)) as client:
            assert (await client.list(NAMESPACES)).items
        assert [seen.path for seen in here.proxy.requests] == ["/api/v1/namespaces"]

    run(plane, test)


def test_a_login_that_does_not_verify_the_server_is_refused() -> None:
    with pytest.raises(JobError, match="certificate authority"):
        from_connection(kopf.ConnectionInfo(server="https://127.0.0.1:1", insecure=True))


def test_a_pod_s_service_account_reaches_the_server(plane: ControlPlane, tmp_path: Path) -> None:
    async def test() -> None:
        shutil.copy(plane.certificate, tmp_path / "ca.crt")
        (tmp_path / "token").write_text(plane.token)
        host, port = plane.url.removeprefix("https://").split(":")
        inside = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        credentials = from_service_account(tmp_path, inside)
        assert credentials is not None
        async with ApiClient(credentials) as client:
            assert (await client.list(NAMESPACES)).items

    assert from_service_account(tmp_path, {}) is None
    asyncio.run(test())


def test_a_watch_tells_changes_as_they_come_however_large(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        since = (await here.client.list(CONFIG_MAPS, here.namespace)).resource_version
        async with here.client.watch(CONFIG_MAPS, here.namespace, resource_version=since) as events:
            created = await here.create("large", text="x" * 900_000)
            assert await anext(events) == ("ADDED", created)
            await here.client.patch(CONFIG_MAPS, here.namespace, "large", {"data": {"text": "y" * 900_000}})
            event = await anext(events)
            assert (event.type, event.object["data"]) == ("MODIFIED", {"text": "y" * 900_000})
            await here.client.delete(CONFIG_MAPS, here.namespace, "large")
            assert (await anext(events)).type == "DELETED"

    run(plane, test)


def test_a_watch_ends_when_its_time_is_over(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        since = (await here.client.list(CONFIG_MAPS, here.namespace)).resource_version
        async with here.client.watch(CONFIG_MAPS, here.namespace, resource_version=since, seconds=1) as events:
            assert {event.type async for event in events} <= {"BOOKMARK"}

    run(plane, test)


@pytest.mark.parametrize(
    "fault", [answer(410, reason="Expired"), stream_error(410, "Expired")], ids=["answer", "event"]
)
def test_a_watch_from_a_version_that_is_no_longer_held_says_so(plane: ControlPlane, fault: object) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(fault, watch=True)
        with pytest.raises(GoneError):
            async with here.client.watch(CONFIG_MAPS, here.namespace, resource_version="1") as events:
                await anext(events)

    run(plane, test)


def test_a_watch_that_is_cut_off_says_so(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        since = (await here.client.list(CONFIG_MAPS, here.namespace)).resource_version
        async with here.client.watch(CONFIG_MAPS, here.namespace, resource_version=since) as events:
            await here.proxy.watched()
            here.proxy.cut_watches()
            with pytest.raises(UnreachableError):
                await anext(events)

    run(plane, test)


def test_a_watch_that_is_silent_too_long_counts_as_cut_off(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        since = (await here.client.list(CONFIG_MAPS, here.namespace)).resource_version
        with pytest.raises(UnreachableError):
            async with here.client.watch(
                CONFIG_MAPS, here.namespace, resource_version=since, silence_seconds=0.2
            ) as events:
                await anext(events)

    run(plane, test)


def test_an_answer_that_is_not_the_api_server_s_is_told_and_asked_for_again(plane: ControlPlane) -> None:
    async def page(request: web.Request, forward: object) -> web.StreamResponse:
        return web.Response(text="<html>log in first</html>")

    async def test(here: Site) -> None:
        here.proxy.add(page, times=RETRY.attempts)
        with pytest.raises(UnreachableError, match="not JSON"):
            await here.client.list(CONFIG_MAPS, here.namespace)
        await here.client.list(CONFIG_MAPS, here.namespace)

    run(plane, test)


def test_each_try_is_told_to_the_observer(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        here.proxy.add(answer(503), method="POST")
        here.proxy.add(cut_before, method="POST")
        await here.create("a")
        page = await here.client.list(CONFIG_MAPS, here.namespace)
        async with here.client.watch(CONFIG_MAPS, here.namespace, resource_version=page.resource_version):
            pass
        assert here.told == [
            ("POST", "configmaps", 503),
            ("POST", "configmaps", 0),
            ("POST", "configmaps", 201),
            ("GET", "configmaps", 200),
            ("WATCH", "configmaps", 200),
        ]

    run(plane, test)


def test_watches_take_no_connection_from_requests(plane: ControlPlane) -> None:
    async def test(here: Site) -> None:
        async with (
            ApiClient(here.proxy.credentials(), connections=1) as client,
            client.watch(CONFIG_MAPS, here.namespace, resource_version="0"),
            client.watch(NAMESPACES, resource_version="0"),
        ):
            bodies = [config_map(f"m{number}") for number in range(5)]
            await asyncio.gather(*(client.create(CONFIG_MAPS, here.namespace, body) for body in bodies))

    run(plane, test)


def test_a_client_goes_on_when_the_api_server_was_restarted(plane: ControlPlane) -> None:
    async def test() -> None:
        info = kopf.ConnectionInfo(server=plane.url, ca_path=plane.certificate, token=plane.token)
        async with ApiClient(from_connection(info)) as client:
            before = await client.list(NAMESPACES)
            await asyncio.to_thread(plane.restart_api_server)
            after = await client.list(NAMESPACES)  # its connection is dead by now
        names = [[item["metadata"]["name"] for item in page.items] for page in (before, after)]
        assert set(names[0]) <= set(names[1])

    asyncio.run(test())
