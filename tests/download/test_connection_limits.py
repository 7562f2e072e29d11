"""The limit of connections: granted, recalled, given back; and counted at a server."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter

import pytest
from crawling import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from origin import Answer, Pattern, drop_after, header, html_instead, redirect, reset_on_connect, status

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.retry import HostPauses
from mediacrawl.errors import ConnectError, Interrupted, MediacrawlError
from mediacrawl.transport import connection_limits as permits_module
from mediacrawl.transport.connection_limits import (
    Admission,
    ConnectionLimit,
    FileConnections,
    HostConnections,
    HostPaused,
    NoPermit,
)
from mediacrawl.transport.requests_transport import RequestsTransport
from mediacrawl.urls import Origin

WAIT_S = 30
H = "h"
H_ADDRESS = "127.0.0.1"


class Told:
    """A holder that notes what it is told."""

    def __init__(self):
        self.granted = self.denied = 0
        self.recalled = []

    def grant(self, host):
        assert host == H
        self.granted += 1

    def deny(self, host):
        assert host == H
        self.denied += 1

    def recall(self, host, count):
        assert host == H
        self.recalled.append(count)


def no_idle():
    return False


# --- the limit --------------------------------------------------------------------------------------


def test_as_many_are_granted_as_may_be_open_and_those_who_wait_come_in_turn():
    limit, first, second, third = ConnectionLimit(2), Told(), Told(), Told()
    for holder in (first, first, second, third):
        limit.ask(holder, H, wait=True)
    assert (first.granted, second.granted, third.granted) == (2, 0, 0)
    limit.give_back(first, H, 1)
    assert (second.granted, third.granted) == (1, 0)
    limit.give_back(first, H, 1)
    assert third.granted == 1
    assert (limit.held(first, H), limit.held(second, H), limit.held(third, H)) == (0, 1, 1)


def test_who_cannot_wait_is_denied_and_nobody_gives_back_what_it_uses_for_that():
    limit, first, helper = ConnectionLimit(1), Told(), Told()
    limit.ask(first, H, wait=True)
    limit.ask(helper, H, wait=False)
    assert (helper.granted, helper.denied, first.recalled) == (0, 1, [0])
    limit.give_back(first, H, 1)
    assert helper.granted == 0, "nobody comes back to it"


def test_all_others_that_have_some_are_asked_for_as_many_as_are_wanted():
    limit, first, second, third = ConnectionLimit(2), Told(), Told(), Told()
    limit.ask(first, H, wait=True)
    limit.ask(second, H, wait=True)
    limit.ask(third, H, wait=True)
    limit.ask(second, H, wait=True)
    assert (first.recalled, second.recalled, third.recalled) == ([1, 2], [1], [])
    limit.give_back(first, H, 1)  # to the third, which is asked at once for what the second still waits for
    assert third.granted == 1
    assert third.recalled == [1]


def test_who_is_asked_to_give_back_has_heard_before_of_what_it_was_granted():
    """Whatever its thread does in between: it would have nothing to give back yet, and forget that it was asked."""
    limit, other, told = ConnectionLimit(1), Told(), []

    class Interrupted(Told):
        def grant(self, host):
            limit.ask(other, host, wait=True)  # as another thread may at this moment
            told.append("granted")

        def recall(self, _host, count):
            told.append(("recalled", count))

    limit.ask(Interrupted(), H, wait=True)
    assert told == ["granted", ("recalled", 1)]


def test_a_holder_that_fails_keeps_nobody_else_from_being_told():
    limit, holder = ConnectionLimit(1), Told()

    class Broken(Told):
        def grant(self, host):
            raise RuntimeError(host)

    broken = Broken()
    with pytest.raises(RuntimeError):
        limit.ask(broken, H, wait=True)
    limit.ask(holder, H, wait=True)
    limit.drop(broken)
    assert holder.granted == 1


def test_what_a_holder_had_is_free_when_it_is_gone_and_it_waits_no_more():
    limit, dead, other = ConnectionLimit(2), Told(), Told()
    for holder in (dead, dead, dead, other):
        limit.ask(holder, H, wait=True)
    limit.drop(dead)
    assert (dead.granted, other.granted, limit.held(other, H)) == (2, 1, 1)
    limit.ask(other, H, wait=True)
    assert other.granted == 2


def test_a_host_may_have_a_limit_of_its_own_and_parts_add_up():
    limit = ConnectionLimit(8)
    limit.allow(H, 8, H)
    assert limit.limit_of(H) == 8
    limit.allow(H, 2, "slow")
    limit.allow(H, 3, "fast")
    limit.allow(H, 8, H)
    assert limit.limit_of(H) == 13
    limit.allow(H, 0, "free")
    assert limit.limit_of(H) == float("inf")
    assert limit.limit_of("other") == 8


def test_hosts_that_nobody_has_a_connection_to_take_no_memory():
    limit, holder = ConnectionLimit(2), HostConnectionsOf(None)
    for number in range(1000):
        limit.ask(holder, f"h{number}", wait=True)
        limit.give_back(holder, f"h{number}", 1)
    assert limit._hosts == {}


class HostConnectionsOf:
    """A holder to which nothing matters."""

    def __init__(self, _limit):
        pass

    def grant(self, host): ...

    def deny(self, host): ...

    def recall(self, host, count): ...


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["ask", "give", "drop"]), st.integers(0, 2))))
def test_whatever_happens_no_more_are_granted_than_may_be_and_all_that_is_free_is_granted(most, steps):
    limit, holders, waiting = ConnectionLimit(most), [Told(), Told(), Told()], Counter()
    for step, number in steps:
        holder = holders[number]
        before = [other.granted for other in holders]
        if step == "ask":
            limit.ask(holder, H, wait=True)
            waiting[number] += 1
        elif step == "give" and limit.held(holder, H):
            limit.give_back(holder, H, 1)
        elif step == "drop":
            limit.drop(holder)
            waiting[number] = 0
        for other, (now, then) in enumerate(zip((h.granted for h in holders), before, strict=True)):
            waiting[other] -= now - then
        held = sum(limit.held(other, H) for other in holders)
        assert held <= most
        assert held == most or not +waiting
    if H in limit._hosts:
        assert len(limit._hosts[H].waiting) == waiting.total()


# --- the permits of a process -----------------------------------------------------------------------


def pair():
    """A connection: our end, and that of the server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        return ours, theirs


def acquired(process, *, has_idle=no_idle, cancel=None, **more):
    return process.acquire(H, cancel or Cancel(), has_idle, **more)


def in_thread(function):
    done = []
    thread = threading.Thread(target=lambda: done.append(function()), daemon=True)
    thread.start()

    def result():
        thread.join(WAIT_S)
        assert done, "it waits for ever"
        return done[0]

    return result


def test_without_a_limit_each_may_open():
    process = HostConnections()
    assert all(acquired(process) for _ in range(100))


def test_the_permit_of_a_connection_that_is_closed_on_both_sides_is_used_for_the_next():
    process = HostConnections(ConnectionLimit(1))
    ours, theirs = pair()
    theirs.close()
    acquired(process).close(ours, cut=False)
    assert acquired(process)


def test_one_that_only_we_have_closed_counts_until_the_server_has_too():
    process = HostConnections(ConnectionLimit(1))
    ours, theirs = pair()
    acquired(process).close(ours, cut=False)
    with pytest.raises(NoPermit):
        acquired(process, wait=False)
    assert theirs.recv(1) == b"", "the server sees the end"
    theirs.close()
    assert acquired(process)


def test_one_that_was_cut_counts_for_a_while(monkeypatch):
    monkeypatch.setattr(permits_module, "CUT_COUNTS_S", 0.3)
    process = HostConnections(ConnectionLimit(1))
    ours, theirs = pair()
    theirs.sendall(b"half an answer")
    began = time.monotonic()
    acquired(process).close(ours, cut=True)
    with theirs:
        theirs.settimeout(WAIT_S)
        with pytest.raises(NoPermit):
            acquired(process, wait=False)
        assert acquired(process)
    assert time.monotonic() - began >= 0.3


def test_the_time_that_a_cut_connection_counts_is_short_and_one_whose_server_keeps_it_open_is_not_for_ever():
    assert (permits_module._CLOSE_WITHIN_S, permits_module.CUT_COUNTS_S > 0) == (2.0, True)


def test_a_connection_that_never_opened_leaves_its_permit_at_once():
    process = HostConnections(ConnectionLimit(1))
    acquired(process).close(None, cut=False)
    assert acquired(process)


def test_who_waits_takes_an_idle_connection_that_has_come_back():
    process = HostConnections(ConnectionLimit(1))
    permit, idle = acquired(process), []
    waiting = in_thread(lambda: acquired(process, has_idle=lambda: bool(idle)))
    wait_until(lambda: process._hosts[H].waiting)
    idle.append("the connection")
    permit.became_idle()
    assert waiting() is None


def test_an_idle_connection_to_another_port_of_the_host_is_closed_for_one_that_waits():
    idle = []

    def close_idle(_host, _idle_s):
        if idle:
            idle.pop().close(None, cut=False)
        return False

    process = HostConnections(ConnectionLimit(1), close_idle)
    idle.append(acquired(process))
    assert acquired(process)


def test_a_stop_ends_the_wait():
    process, cancel = HostConnections(ConnectionLimit(1)), Cancel()
    acquired(process)

    def wait():
        with pytest.raises(Interrupted):
            acquired(process, cancel=cancel)
        return True

    waiting = in_thread(wait)
    wait_until(lambda: process._hosts[H].waiting)
    cancel.set()
    assert waiting()


class GivenBack:
    """A limit that notes what comes back, and lets the test answer."""

    def __init__(self):
        self.count = 0

    def ask(self, _holder, _host, *, wait): ...

    def give_back(self, _holder, _host, count):
        self.count += count


def test_a_permit_that_another_process_wants_is_used_first_for_the_request_that_it_was_granted_for():
    """Else two processes could pass it to and fro, and no request would be sent."""
    limit = GivenBack()
    process = HostConnections(limit)

    def granted_and_recalled_meanwhile():
        assert not limit.count
        process.grant(H)
        process.recall(H, 1)
        return False

    permit = process.acquire(H, Cancel(), granted_and_recalled_meanwhile)
    permit.close(None, cut=False)
    assert limit.count == 1


def test_a_permit_that_another_process_wants_goes_back_where_its_request_has_found_an_idle_connection():
    limit = GivenBack()
    process = HostConnections(limit)

    def granted_and_recalled_meanwhile():
        process.grant(H)
        process.recall(H, 1)
        return True

    assert process.acquire(H, Cancel(), granted_and_recalled_meanwhile) is None
    assert limit.count == 1


def test_another_process_gets_what_is_idle_here():
    limit, idle = ConnectionLimit(1), []

    def close_idle(_host, _idle_s):
        if not idle:
            return False
        idle.pop().close(None, cut=False)
        return True

    here, there = HostConnections(limit, close_idle), HostConnections(limit)
    idle.append(acquired(here))
    assert acquired(there)
    assert (limit.held(here, H), limit.held(there, H)) == (0, 1)


def test_another_process_gets_what_is_busy_here_as_soon_as_it_is_idle():
    limit, idle = ConnectionLimit(1), []

    def close_idle(_host, _idle_s):
        while idle:
            idle.pop().close(None, cut=False)
        return False

    here, there = HostConnections(limit, close_idle), HostConnections(limit)
    permit = acquired(here)
    waiting = in_thread(lambda: acquired(there))
    wait_until(lambda: here._hosts[H].owed)
    idle.append(permit)
    permit.became_idle()
    assert waiting()


def test_a_helper_in_another_process_gets_what_has_not_been_used_here_for_a_while():
    limit, idle = ConnectionLimit(2), []

    def close_idle(_host, idle_s):
        if not idle or idle_s > 5.0 - len(idle):
            return False
        idle.pop().close(None, cut=False)
        return True

    here, there = HostConnections(limit, close_idle), HostConnections(limit)
    idle += [acquired(here), acquired(here)]
    with pytest.raises(NoPermit):
        acquired(there, wait=False)
    assert idle == []
    assert acquired(there, wait=False)


def test_a_helper_yields_to_a_file_that_waits_and_no_more_helpers_do_than_have_to():
    process = HostConnections(ConnectionLimit(3))
    permits = [acquired(process) for _ in range(3)]
    assert not process.yields(H)
    waiting = in_thread(lambda: acquired(process))
    wait_until(lambda: process._hosts[H].urgent)
    assert [process.yields(H) for _ in permits] == [True, False, False]
    permits[0].close(None, cut=False)
    assert waiting()
    assert not process.yields(H)


def test_unused_permits_of_very_many_hosts_go_back():
    limit = ConnectionLimit(2)
    process = HostConnections(limit)
    for number in range(2000):
        process.acquire(f"h{number}", Cancel(), no_idle).close(None, cut=False)
    assert len(process._hosts) <= permits_module._MOST_HOSTS + 1
    assert len(limit._hosts) == len(process._hosts)


def test_a_host_that_is_asked_again_soon_needs_no_new_permit_however_many_others_there_are():
    """As one that could not be reached at first."""
    asked = Counter()

    class Counting(ConnectionLimit):
        def ask(self, holder, host, *, wait):
            asked[host] += 1
            super().ask(holder, host, wait=wait)

    process = HostConnections(Counting(2))
    for number in range(2000):
        for host in (number, max(0, number - 100)):
            process.acquire(f"h{host}", Cancel(), no_idle).close(None, cut=False)
    assert set(asked.values()) == {1}


def test_a_connection_that_did_not_come_about_counts_no_longer():
    with socket.create_server((H_ADDRESS, 0)) as nobody:
        port = nobody.getsockname()[1]
    process = HostConnections(ConnectionLimit(1))
    transport = RequestsTransport()
    for _ in range(2):
        with pytest.raises(ConnectError):
            transport.get(
                f"http://{H_ADDRESS}:{port}/a",
                {},
                proxy=None,
                timeout_s=WAIT_S,
                admission=Admission(process, HostPauses(), H_ADDRESS, Cancel()),
            )
        assert process._hosts[H_ADDRESS].open == 0
    transport.close()


def test_a_request_is_not_sent_where_the_host_has_asked_for_quiet_meanwhile():
    pauses = HostPauses()
    admission = Admission(HostConnections(), pauses, H, Cancel())
    admission.check()
    pauses.pause(H, 100)
    with pytest.raises(HostPaused):
        admission.check()


# --- many at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 5])
def test_threads_of_several_processes_never_exceed_the_limit_and_none_waits_for_ever(most):
    """Each opens, uses, keeps and closes connections as it likes; a keeper of idle ones gives them up when asked."""
    limit, lock = ConnectionLimit(most), threading.Lock()
    open_now, peak = 0, 0

    class Process:
        def __init__(self):
            self.idle = []
            self.connections = HostConnections(limit, self.close_idle)

        def close_idle(self, _host, idle_s):
            if idle_s:
                return False
            try:
                permit = self.idle.pop()
            except IndexError:
                return False
            self.close(permit)
            return True

        def close(self, permit):
            nonlocal open_now
            with lock:
                open_now -= 1
            permit.close(None, cut=False)

        def work(self, seed):
            nonlocal open_now, peak
            chance = random.Random(seed)
            for _ in range(200):
                permit = None
                while permit is None:
                    try:
                        permit = self.idle.pop()
                        break
                    except IndexError:
                        permit = self.connections.acquire(H, Cancel(), lambda: bool(self.idle))
                    if permit is not None:
                        with lock:
                            open_now += 1
                            peak = max(peak, open_now)
                if chance.random() < 0.3:
                    threading.Event().wait(0.0005)
                if chance.random() < 0.7:
                    self.idle.append(permit)
                    permit.became_idle()
                else:
                    self.close(permit)

    processes = [Process() for _ in range(3)]
    threads = [
        threading.Thread(target=process.work, args=(10 * number + seed,), daemon=True)
        for number, process in enumerate(processes)
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)
    assert peak == most


FAULTS = [
    [],
    [drop_after(400)],
    [reset_on_connect()],
    [status(500, body=b"<h1>Sorry</h1>" * 3000)],
    [header("Connection", "close")],
    [redirect("/0.jpg")],
    [html_instead()],
]


def test_a_server_never_sees_more_connections_than_it_allows_idle_ones_and_broken_ones_included(
    origin, transport_kind, monkeypatch
):
    monkeypatch.setattr(permits_module, "CUT_COUNTS_S", 0.5)
    for number in range(140):
        faults = FAULTS[number % len(FAULTS)]
        origin.add(f"/{number}.jpg", Pattern(1000 + number, number), content_type="image/jpeg", faults=faults)
    origin.add("/cut.jpg", Pattern(5_000_000))
    limit, failed = ConnectionLimit(3), []
    transports = [transport_kind(), transport_kind()]  # as of two processes
    processes = [HostConnections(limit, transport.close_idle) for transport in transports]

    def work(process, transport, seed):
        chance = random.Random(seed)
        for _ in range(40):
            admission = Admission(process, HostPauses(), "127.0.0.1", Cancel())
            path = "/cut.jpg" if chance.random() < 0.03 else f"/{chance.randrange(140)}.jpg"
            try:
                answer = transport.get(origin.url(path), {}, proxy=None, timeout_s=20.0, admission=admission)
            except MediacrawlError:
                continue
            try:
                for _block in answer.blocks() if path != "/cut.jpg" else ():
                    pass
            except MediacrawlError:
                pass
            except BaseException as error:
                failed.append(error)
            finally:
                answer.close()

    threads = [
        threading.Thread(target=work, args=(process, transport, seed), daemon=True)
        for process, transport in zip(processes, transports, strict=True)
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert failed == []
    assert origin.peak_open == 3
    for transport in transports:
        transport.close()


def test_an_error_page_leaves_its_connection_usable(origin, transport_kind, patient_ends):
    """A list of many dead links would connect anew for each of them."""
    transport = transport_kind()
    for number in range(5):
        page = status(404, body=b"<h1>Not here</h1>" * 1000)
        answer = transport.get(origin.add(f"/{number}", b"", faults=[page]), {}, proxy=None, timeout_s=20.0)
        assert (answer.status, answer.close()) == (404, False)
    chunked = origin.on("/chunked", lambda _: Answer(404, [], b"not here either" * 1000, framing="chunked"))
    assert transport.get(chunked, {}, proxy=None, timeout_s=20.0).close() is False
    assert origin.connections == 1
    transport.close()


def test_a_transport_that_is_closed_has_no_connection_left_even_if_its_pool_is_still_known(origin):
    """An error that was kept knows the pool of its connection, by its frames."""
    transport = RequestsTransport()
    transport.get(origin.add("/a", b"x"), {}, proxy=None, timeout_s=20.0).close()
    pools = transport._adapter._pools_to("127.0.0.1")
    assert [len(pool.pool.items) for pool in pools] == [1]
    transport.close()
    origin.wait_for(lambda: not origin.open_connections)


def test_where_no_thread_can_be_started_a_connection_is_closed_all_the_same(monkeypatch):
    """As at the end of a process, from Python 3.12 on."""

    def start(_thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    here, there = socket.socketpair()
    there.close()
    done = []
    permits_module._Closing().add(here, WAIT_S, lambda: done.append(here.fileno()))
    assert done == [-1]


def test_what_is_left_of_a_large_answer_is_not_read(origin, transport_kind):
    transport = transport_kind()
    answer = transport.get(origin.add("/a", Pattern(50_000_000)), {}, proxy=None, timeout_s=20.0)
    assert answer.close() is True
    assert answer.close() is True
    assert origin.bytes_sent("/a") < 50_000_000
    transport.close()


# --- of one file ------------------------------------------------------------------------------------


def test_a_file_has_no_more_connections_than_it_may_and_a_cut_one_counts_for_a_while():
    now = 100.0
    of_file = FileConnections(2, clock=lambda: now)
    of_file.enter(Cancel())
    of_file.enter(Cancel())
    of_file.leave(cut=True)
    entering = in_thread(lambda: of_file.enter(Cancel()) or True)
    of_file.leave(cut=False)
    assert entering(), "the second place is free at once"
    with pytest.raises(NoPermit):
        of_file.enter(Cancel(), wait=False)
    third = in_thread(lambda: of_file.enter(Cancel()) or True)
    now += 1.0
    assert third()


def test_a_stop_ends_the_wait_for_a_connection_of_a_file():
    of_file, cancel = FileConnections(1), Cancel()
    of_file.enter(cancel)

    def wait():
        with pytest.raises(Interrupted):
            of_file.enter(cancel)
        return True

    waiting = in_thread(wait)
    cancel.set()
    assert waiting()


def test_an_idle_connection_is_found_by_the_name_that_a_person_writes(origin, monkeypatch):
    """Not only by the one that is sent: xn--bcher-kva.test."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    url = origin.add("/a.jpg", b"j" * 100).replace("127.0.0.1", "b\u00fccher.test")
    transport = RequestsTransport()
    connections = HostConnections(ConnectionLimit(1), transport.close_idle)
    host = Origin.of(url).host
    admission = Admission(connections, HostPauses(), host, Cancel())
    answer = transport.get(url, {}, proxy=None, timeout_s=10, admission=admission)
    assert b"".join(answer.blocks()) == b"j" * 100
    answer.close()
    assert transport.close_idle(host, 0.0)
    assert not transport.close_idle(host, 0.0)
    transport.close()
