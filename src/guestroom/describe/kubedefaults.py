"""What KubeVirt's API fills in before a machine is scheduled: requests from limits, RAM from requests, CPUs from both.

``SetDefaultVirtualMachineInstanceSpec`` (pkg/defaults, in older releases pkg/virt-api/webhooks) does it to every
machine, so a document without a CPU topology is not one of unknown CPUs. An instance type comes before all of this and
is in the cluster: with one, what the document leaves out stays unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod

from guestroom.describe.kubetree import Node
from guestroom.errors import DescribeError

_MOST_VCPUS = 65_536


@dataclass(frozen=True, slots=True)
class Resources:
    """CPUs and bytes asked of Kubernetes, after KubeVirt's defaults."""

    cpu_request: float | None
    cpu_limit: float | None
    memory_request: int | None
    memory_limit: int | None

    @property
    def guaranteed(self) -> bool:
        """Both requested, none of them zero, and each equal to its limit (``WantsToHaveQOSGuaranteed``)."""
        asked = bool(self.memory_request and self.cpu_request)
        return asked and self.memory_request == self.memory_limit and self.cpu_request == self.cpu_limit


def read_resources(domain: Node) -> Resources:
    """A request that is missing or zero is its limit's (``setDefaultResourceRequests``); for memory without either it
    is the guest's RAM, else one huge page."""
    requests, limits = domain.at("resources", "requests"), domain.at("resources", "limits")
    cpu_limit, memory_limit = limits.cpus("cpu"), limits.size("memory")
    cpu, memory = requests.cpus("cpu"), requests.size("memory")
    if memory is None and not memory_limit:
        memory = domain.at("memory").size("guest") or domain.at("memory", "hugepages").size("pageSize")
    return Resources(
        cpu_request=cpu or cpu_limit or cpu,
        cpu_limit=cpu_limit,
        memory_request=memory or memory_limit or memory,
        memory_limit=memory_limit,
    )


def read_memory(domain: Node, resources: Resources) -> tuple[int | None, int | None]:
    """RAM at boot and promised: ``guest``, else what is requested (``setGuestMemory``); ``maxGuest`` by hot-plug."""
    memory = domain.at("memory")
    given = memory.size("guest")
    boot = resources.memory_request if given is None else given
    most = memory.size("maxGuest")
    return boot, boot if boot is None or most is None else max(boot, most)


def read_cpus(cpu: Node, resources: Resources, *, typed: bool) -> tuple[int | None, int | None]:
    """vCPUs at start and at most.

    What is not said or 0 counts once (``GetNumberOfVCPUs``). Without any of it: as many sockets as the CPU limit, else
    the request, rounded up, else one (``SetDefaultGuestCPUTopology``); unknown for a machine ``typed`` by an instance
    type in the cluster.
    """
    cores, sockets, threads = cpu.count("cores"), cpu.count("sockets"), cpu.count("threads")
    most_sockets = cpu.count("maxSockets")
    said = [number for number in (cores, sockets, threads) if number]
    vcpus: int | None = prod(said)
    if not said:
        asked = resources.cpu_request if resources.cpu_limit is None else resources.cpu_limit
        vcpus = None if typed else 1 if asked is None else max(1, math.ceil(asked))
    most = prod(number for number in (cores, most_sockets, threads) if number) if most_sockets else None
    if max(vcpus or 0, most or 0) > _MOST_VCPUS:
        raise DescribeError(f"{cpu.path} has more than {_MOST_VCPUS} vCPUs", where=cpu.path)
    return vcpus, max(vcpus or 1, most) if most is not None else vcpus
