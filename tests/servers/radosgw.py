"""Ceph's object gateway, the signature-strict S3: one monitor, one object store in memory, one gateway.

Signatures, users and their rights are enforced. The store holds 4 GiB at most. Needs no root: everything is
below the keeper's folder.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from tests.servers.keeper import Keeper, free_ports

NAME = "radosgw"
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_SECONDS = 90
USERS = (
    ("owner", "OWNEROWNEROWNEROWNER", "owner-secret-0123456789"),
    ("stranger", "STRANGERSTRANGERSTRA", "stranger-secret-0123456789"),
)
Users = tuple[tuple[str, str], tuple[str, str]]

CONFIGURATION = """
[global]
fsid = {cluster}
mon host = [v2:127.0.0.1:{port}/0,v1:127.0.0.1:{old_port}/0]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}
log file = {folder}/$name.log
admin socket =
pid file =
# One copy on one machine.
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
# A disk that is nearly full would end the monitor, which writes some 40 MB.
mon data avail warn = 0
mon data avail crit = 0
osd objectstore = memstore
memstore device bytes = 4294967296
# Decisions are made by one alone: nobody is waited for.
paxos propose interval = 0.05
# What is deleted leaves the memory soon.
rgw gc obj min wait = 5
rgw gc processor period = 5
"""


def missing() -> str:
    """What to do before it can run here; `""` when it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"no {', '.join(absent)}: apt-get install ceph-mon ceph-osd radosgw" if absent else ""


def start(keeper: Keeper) -> tuple[str, Users]:
    """Start it; its URL and its users."""
    mon, old_mon, port = free_ports(3)
    folder, cluster, store = keeper.folder, str(uuid4()), str(uuid4())
    configuration = folder / "ceph.conf"
    configuration.write_text(CONFIGURATION.format(cluster=cluster, port=mon, old_port=old_mon, folder=folder))
    of = {"CEPH_CONF": str(configuration)}
    key = keeper.run("ceph-authtool", "--gen-print-key").strip()
    everything = "".join(f'caps {service} = "allow *"\n' for service in ("mon", "osd"))
    names = ("mon.", "client.admin", "osd.0", "client.gateway")
    (folder / "keyring").write_text("".join(f"[{name}]\nkey = {key}\n{everything}" for name in names))

    addresses = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{old_mon}]"
    keeper.run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", addresses, "monmap")
    keeper.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", "monmap", "--keyring", "keyring", **of)
    keeper.start("ceph-mon", "-i", "a", "-f", **of)
    keeper.run("ceph", "--connect-timeout", "30", "osd", "new", store, **of)
    (folder / "osd").mkdir()
    keeper.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store, **of)
    keeper.start("ceph-osd", "-i", "0", "-f", **of)

    pem = f"ssl_certificate={keeper.authority.certificate} ssl_private_key={keeper.authority.key}"
    listen = f"beast ssl_endpoint=127.0.0.1:{port} {pem}"
    keeper.start("radosgw", "-n", "client.gateway", "-f", f"--rgw-frontends={listen}", **of)
    keeper.wait_for(f"https://127.0.0.1:{port}/", START_SECONDS)

    def add(user: tuple[str, str, str]) -> tuple[str, str]:
        name, access, secret = user
        who = ["--uid", name, "--display-name", name, "--access-key", access, "--secret-key", secret]
        keeper.run("radosgw-admin", "user", "create", *who, **of)
        return access, secret

    with ThreadPoolExecutor() as pool:
        owner, stranger = pool.map(add, USERS)
    return f"https://127.0.0.1:{port}", (owner, stranger)
