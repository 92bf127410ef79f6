"""libvirt's answers, by way of virsh: read strictly, its words passed on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.readers.recordedfiles import DictFiles

from guestroom.errors import HostError, InputError
from guestroom.observe.libvirt import check_domain, domain_pid, domain_uuid
from guestroom.ports import Ran

UUID = "27ca94c6-bfe5-4188-8bfe-c5316a2c26cb"


class Virsh:
    """``ports.Programs`` with one answer by command."""

    def __init__(self, **answers: str | Ran) -> None:
        self.answers = {"domuuid": UUID + "\n\n"} | answers
        self.ran: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """The answer."""
        self.ran.append(tuple(argv))
        answer = self.answers[argv[2]]
        return answer if isinstance(answer, Ran) else Ran(0, answer, "")


def qemus(*uuids: str) -> DictFiles:
    """A /proc with a QEMU for each UUID, from pid 100 on."""
    files: dict[str, str | int] = {"/proc/self/cmdline": ""}
    for pid, uuid in enumerate(uuids, start=100):
        files[f"/proc/{pid}/cmdline"] = f"/usr/bin/qemu-system-x86_64\0-m\x001G\0-uuid\0{uuid}\0"
        files[f"/proc/{pid}/status"] = "RssAnon:\t1 kB\nRssShmem:\t1 kB\n"
    return DictFiles(files)


def test_a_domain_is_the_process_with_its_uuid() -> None:
    """Told by what libvirt put into its arguments; the name goes in one word, whatever it begins with."""
    virsh = Virsh()
    assert domain_pid(qemus("1" * 8, UUID), virsh, "-web 1") == 101
    assert virsh.ran == [("virsh", "-q", "domuuid", "--domain=-web 1")]


@pytest.mark.parametrize("uuids", [(), (UUID, UUID)])
def test_none_or_two_processes_are_refused(uuids: tuple[str, ...]) -> None:
    """A domain that is shut off has no process; what libvirt says of it is told."""
    with pytest.raises(InputError, match="shut off"):
        domain_pid(qemus(*uuids), Virsh(domstate="shut off\n"), "web")


def test_what_virsh_says_is_passed_on() -> None:
    """An unknown domain, or no libvirtd."""
    with pytest.raises(HostError, match="failed to get domain 'web'"):
        domain_uuid(Virsh(domuuid=Ran(1, "", "error: failed to get domain 'web'\n")), "web")
    with pytest.raises(HostError, match="exit code 3"):
        domain_uuid(Virsh(domuuid=Ran(3, "", "")), "web")


@pytest.mark.parametrize("said", ["", "web", UUID.upper(), UUID + "x"])
def test_an_answer_that_is_no_uuid_is_refused(said: str) -> None:
    """Nothing is looked for by a text that is no UUID."""
    with pytest.raises(HostError, match="no UUID"):
        domain_uuid(Virsh(domuuid=said), "web")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "a\0b"])
def test_what_can_t_be_a_name_is_not_asked_for(name: str) -> None:
    """Control characters and endless names never reach a command line."""
    with pytest.raises(InputError):
        check_domain(name)
