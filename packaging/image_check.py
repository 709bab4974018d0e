#!/usr/bin/env python3
"""Runs the steps of a target of the Dockerfile without a container engine, and tries the result.

Started by `./dev image-check`, as root and in mount and process namespaces of its own, so that nothing
mounted or started here outlives it. The base images are made by debootstrap; into that of Rust comes the
host's toolchain, read-only, because the image can't be had where this is needed, nor what rustup would
download. Only what this Dockerfile needs of the language is known, and everything else is refused: a step
that would be understood differently here than by Docker is worse than none.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What buildpack-deps:bookworm, on which the image of Rust stands, has of what is needed to compile.
BUILDPACK = ["ca-certificates", "curl", "g++", "gcc", "git", "libc6-dev", "libssl-dev", "make", "pkg-config"]
# What debian:bookworm-slim leaves out of Debian.
SLIM = ["usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "var/lib/apt/lists", "var/cache/apt"]
# What Debian's images tell apt, so that it keeps no caches.
APT_CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
DPKG_SLIM = "".join(f"path-exclude /{path}/*\n" for path in SLIM[:4])
TOOLCHAIN = "/usr/local/rustup/toolchains/host"
# Seconds that the server may take to answer, and to end.
PATIENCE = 60


def fail(what):
    sys.exit(f"image-check: {what}")


def say(what):
    print(f"image-check: {what}", flush=True)


def run(*command, **options):
    if subprocess.run([str(word) for word in command], check=False, **options).returncode != 0:
        fail(f"this failed: {' '.join(map(str, command))}")


def megabytes(directory):
    out = subprocess.run(["du", "-sxk", directory], check=True, capture_output=True, text=True).stdout
    return int(out.split()[0]) / 1024


class Stage:
    """A stage of the Dockerfile: its steps, and after `build` what they left."""

    def __init__(self, name, base):
        self.name, self.base, self.steps = name, base, []
        self.env, self.arguments, self.volumes, self.exposed, self.labels = {}, {}, [], [], {}
        self.directory, self.user = "/", None
        self.entrypoint, self.command, self.health, self.stop = [], [], None, "SIGTERM"

    def inherit(self, other):
        for key in ("env", "labels", "arguments"):
            setattr(self, key, dict(getattr(other, key)))
        for key in ("volumes", "exposed", "entrypoint", "command"):
            setattr(self, key, list(getattr(other, key)))
        for key in ("directory", "user", "health", "stop"):
            setattr(self, key, getattr(other, key))


def parse(text):
    """The stages by their names, in order."""
    stages = {}
    stage = None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "FROM":
            match = re.fullmatch(r"(\S+) AS (\S+)", rest) or fail(f"no FROM IMAGE AS NAME: {line}")
            stage = stages[match[2]] = Stage(match[2], match[1])
        elif stage is None:
            fail(f"before the first FROM: {line}")
        else:
            if word != "RUN" and "$" in rest:
                fail(f"variables are known in RUN only: {line}")
            stage.steps.append((word, rest))
    return stages


def pairs(text):
    found = re.findall(r'([\w.]+)=("[^"]*"|\S+)(?:\s+|$)', text)
    return {key: value.strip('"') for key, value in found} or fail(f"no KEY=VALUE: {text}")


def words(text):
    try:
        found = json.loads(text)
    except ValueError:
        fail(f'only the form ["WORD", …] is known: {text}')
    return found


class Builder:
    def __init__(self, flags):
        self.flags, self.stages, self.built = flags, parse(Path("Dockerfile").read_text()), {}
        self.work = Path(flags.work)
        self.ignored = Path(".dockerignore").read_text().split()

    # Bases

    def debian(self):
        root = self.work / "debian-bookworm-slim"
        if not (root / "complete").exists():
            say("debootstrap for debian:bookworm-slim")
            shutil.rmtree(root, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "bookworm", root, MIRROR, stdout=subprocess.DEVNULL)
            (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(DPKG_SLIM)
            (root / "etc/apt/apt.conf.d/clean").write_text(APT_CLEAN)
            for path in SLIM:
                shutil.rmtree(root / path, ignore_errors=True)
                (root / path).mkdir()
            (root / "complete").touch()
        return root

    def rust(self, tag):
        have = subprocess.run([f"{self.flags.toolchain}/bin/rustc", "--version"], check=True, capture_output=True)
        if not have.stdout.decode().split()[1].startswith(tag.removesuffix("-bookworm")):
            fail(f"the Dockerfile wants rust:{tag} and the host has {have.stdout.decode()}")
        root = self.work / "rust-bookworm"
        if not (root / "complete").exists():
            say("packages of buildpack-deps for rust:*-bookworm")
            self.copy_tree(self.debian(), root)
            (root / "complete").unlink()
            install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(BUILDPACK)}"
            self.chroot(root, {"DEBIAN_FRONTEND": "noninteractive"}, "/", install, [])
            (root / TOOLCHAIN[1:]).mkdir(parents=True)
            (root / "complete").touch()
        return root

    def copy_tree(self, source, target):
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", "--reflink=auto", source, target)

    # Steps

    def build(self, name):
        """Runs a stage's steps, after those of the stages that it needs."""
        if name in self.built:
            return self.built[name]
        stage = self.stages.get(name) or fail(f"no stage {name}; there are {', '.join(self.stages)}")
        stage.root = self.work / "stages" / name
        if program := self.flags.prebuilt.get(name):
            say(f"{name}: not built; {program} stands for what it makes")
            (stage.root / "out/bin").mkdir(parents=True, exist_ok=True)
            run("strip", "--strip-debug", "-o", stage.root / "out/bin/switchboard", program)
            self.built[name] = stage
            return stage
        if stage.base in self.stages:
            parent = self.build(stage.base)
            stage.inherit(parent)
            base = parent.root
        elif stage.base == "debian:bookworm-slim":
            base = self.debian()
        elif match := re.fullmatch(r"rust:(\S+-bookworm)", stage.base):
            base = self.rust(match[1])
            stage.env["PATH"] = f"{TOOLCHAIN}/bin:{PATH}"
            stage.env["CARGO_HOME"] = "/usr/local/cargo"
            stage.env["CARGO_NET_OFFLINE"] = "true"
        else:
            fail(f"unknown base {stage.base}")
        for word, rest in stage.steps:
            if word == "COPY" and rest.startswith("--from="):
                self.build(rest.removeprefix("--from=").split()[0])
        self.copy_tree(base, stage.root)
        for word, rest in stage.steps:
            started = time.monotonic()
            step = getattr(self, f"do_{word.lower()}", None) or fail(f"unknown instruction {word}")
            step(stage, rest)
            say(f"{name}: {time.monotonic() - started:6.1f} s  {word} {rest[:60]}")
        self.built[name] = stage
        return stage

    def do_arg(self, stage, rest):
        name, _, default = rest.partition("=")
        stage.arguments[name] = self.flags.build_arg.get(name, default)

    def do_env(self, stage, rest):
        stage.env.update(pairs(rest))

    def do_label(self, stage, rest):
        stage.labels.update(pairs(rest))

    def do_workdir(self, stage, rest):
        stage.directory = rest
        self.inside(stage, rest).mkdir(parents=True, exist_ok=True)

    def do_user(self, stage, rest):
        stage.user = re.fullmatch(r"[0-9]+:[0-9]+", rest) and rest or fail(f"USER wants UID:GID, not {rest}")

    def do_volume(self, stage, rest):
        stage.volumes += words(rest)

    def do_expose(self, stage, rest):
        stage.exposed += [re.fullmatch(r"[0-9]+/(tcp|udp)", it) and it or fail(f"EXPOSE {it}") for it in rest.split()]

    def do_stopsignal(self, stage, rest):
        stage.stop = rest

    def do_entrypoint(self, stage, rest):
        stage.entrypoint = words(rest)

    def do_cmd(self, stage, rest):
        stage.command = words(rest)

    def do_healthcheck(self, stage, rest):
        match = re.fullmatch(r"((?:--(?:interval|timeout|start-period|retries)=\w+\s+)*)CMD\s+(\[.*\])", rest)
        stage.health = words((match or fail(f"HEALTHCHECK {rest}"))[2])

    def do_copy(self, stage, rest):
        source = Path(".")
        if match := re.match(r"--from=(\S+)\s+", rest):
            source, rest = self.built[match[1]].root, rest[match.end():]
        if rest.startswith("--"):
            fail(f"COPY {rest}")
        *sources, target = rest.split()
        into = self.inside(stage, target)
        for each in sources:
            tree = source / each.lstrip("/")
            if tree.is_dir():
                ignore = self.ignore if source == Path(".") else None
                shutil.copytree(tree, into, ignore=ignore, symlinks=True, dirs_exist_ok=True)
            else:
                destination = into / tree.name if target.endswith("/") else into
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree, destination)

    def ignore(self, directory, names):
        below = os.path.relpath(directory)
        paths = {name: os.path.normpath(os.path.join(below, name)) for name in names}
        # A pattern of .dockerignore stands for a path from the top; its * stops at a slash.
        return [
            name
            for name, path in paths.items()
            if any(path.count("/") == it.count("/") and fnmatch.fnmatch(path, it) for it in self.ignored)
        ]

    def do_run(self, stage, rest):
        mounts = []
        while match := re.match(r"--mount=(\S+)\s+", rest):
            mount = dict(it.split("=", 1) for it in match[1].split(","))
            if mount.pop("type") != "cache" or not {"target"} <= mount.keys() <= {"target", "id"}:
                fail(f"RUN --mount={match[1]}")
            mounts.append((mount["target"], mount.get("id", mount["target"].replace("/", "_"))))
            rest = rest[match.end():]
        if rest.startswith(("--", "[", "<<")):
            fail(f"RUN {rest}")
        binds = [(self.cache(target, name), target, "rw") for target, name in mounts]
        if (stage.root / TOOLCHAIN[1:]).exists():
            binds.append((self.flags.toolchain, TOOLCHAIN, "ro"))
        self.chroot(stage.root, {**stage.env, **stage.arguments}, stage.directory, rest, binds)

    def cache(self, target, name):
        cache = self.work / "cache" / name
        cache.mkdir(parents=True, exist_ok=True)
        if target.endswith("cargo/registry"):
            # The host's crates. A copy, because what is used here as root may not be its user's any more.
            run("cp", "-au", f"{self.flags.registry}/.", cache)
        return cache

    def inside(self, stage, path):
        return stage.root / os.path.join(stage.directory, path).lstrip("/")

    def chroot(self, root, env, directory, script, binds):
        """Runs a line of shell in a root, with what a container would find there."""
        mounted = []
        network = [(f"/etc/{name}", f"/etc/{name}", "ro") for name in ("resolv.conf", "hosts")]
        for source, target, how in [*binds, *network, ("/proc", "/proc", "rw"), ("/dev", "/dev", "rw")]:
            into = root / target[1:]
            if Path(source).is_dir():
                into.mkdir(parents=True, exist_ok=True)
            else:
                into.touch()
            run("mount", "--rbind", source, into)
            if how == "ro":
                run("mount", "-o", "remount,bind,ro", into)
            mounted.append(into)
        environment = {"PATH": PATH, "HOME": "/root", **env}
        inner = f"cd {directory} && {script}"
        log = self.work / "step.log"
        with log.open("wb") as out:
            ended = subprocess.run(
                ["chroot", str(root), "/bin/sh", "-c", inner],
                env=environment, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )
        for into in reversed(mounted):
            run("umount", "-R", into)
        if ended.returncode != 0:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            fail(f"this step failed with {ended.returncode}: {script}")

    # Trying the result

    def try_out(self, name):
        """Starts an image as Docker would, asks it, and stops it."""
        stage = self.build(name)
        root = stage.root
        base = megabytes(self.debian())
        size = megabytes(root)
        say(f"{name}: {size:.0f} MB, of which {size - base:.0f} MB are not in debian:bookworm-slim")
        stage.user or fail(f"{name} runs as root")
        # The image itself is not to be written to: who runs it may give --read-only.
        run("mount", "--bind", root, root)
        run("mount", "-o", "remount,bind,ro", root)
        run("mount", "-t", "tmpfs", "tmpfs", root / "tmp")
        for special in ("proc", "dev"):
            run("mount", "--rbind", f"/{special}", root / special)
        for volume in stage.volumes:
            kept = self.work / "volumes" / name / volume[1:]
            self.copy_tree(root / volume[1:], kept)
            run("mount", "--bind", kept, root / volume[1:])
        self.status(stage, stage.health, expected=1, why="nothing listens yet")
        # A network of its own, as in a container; the others come into it by the process's id.
        up = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        server = subprocess.Popen(
            [*up, *self.inner(stage, stage.entrypoint + stage.command)],
            env=self.environment(stage), stdin=subprocess.DEVNULL,
        )
        self.wait_until_well(stage, server)
        self.look_at(stage, server)
        for command in self.flags.then.get(name, []):
            started = time.monotonic()
            self.status(stage, stage.entrypoint + command.split(), expected=0, beside=server)
            say(f"{name}: {command}: {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        server.send_signal(getattr(signal, stage.stop))
        if server.wait(PATIENCE) != 0:
            fail(f"{name}: {stage.stop} ended it with {server.returncode}")
        say(f"{name}: {stage.stop} ended it with 0 after {time.monotonic() - started:.1f} s")

    def environment(self, stage):
        return {"PATH": PATH, "HOME": "/", **stage.env}

    def inner(self, stage, command):
        inner = ["sh", "-c", f'cd {stage.directory} && exec "$@"', "sh", *command]
        return ["chroot", f"--userspec={stage.user}", "--groups=", str(stage.root), *inner]

    def status(self, stage, command, expected, why="", beside=None):
        there = ["nsenter", f"--net=/proc/{beside.pid}/ns/net"] if beside else ["unshare", "--net"]
        inner = [*there, *self.inner(stage, command)]
        ended = subprocess.run(inner, env=self.environment(stage), check=False, capture_output=True, text=True)
        if ended.returncode != expected:
            fail(f"{' '.join(command)} ended with {ended.returncode} and not {expected} {why}:\n{ended.stdout}{ended.stderr}")

    def wait_until_well(self, stage, server):
        deadline = time.monotonic() + PATIENCE
        health = [*self.inner(stage, stage.health)]
        while time.monotonic() < deadline and server.poll() is None:
            inner = ["nsenter", f"--net=/proc/{server.pid}/ns/net", *health]
            ended = subprocess.run(inner, env=self.environment(stage), check=False, capture_output=True, text=True)
            if ended.returncode == 0:
                say(f"{stage.name}: {' '.join(stage.health)} says {ended.stdout.strip()}")
                return
            time.sleep(0.1)
        fail(f"{stage.name}: it didn't become healthy")

    def look_at(self, stage, server):
        """It is nobody special, and listens where it says."""
        status = Path(f"/proc/{server.pid}/status").read_text()
        field = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.M))
        uids, capabilities = set(field["Uid"].split()), int(field["CapEff"], 16)
        if uids != {stage.user.split(":")[0]} or capabilities != 0:
            fail(f"{stage.name}: it runs as {uids} with capabilities {capabilities:x}")
        tcp = [it.split("/")[0] for it in stage.exposed if it.endswith("tcp")]
        asked = "GET /health HTTP/1.0\\r\\n\\r\\n"
        script = f"exec 3<>/dev/tcp/127.0.0.1/{tcp[0]} && printf '{asked}' >&3 && head -n 1 <&3"
        answer = subprocess.run(
            ["nsenter", f"--net=/proc/{server.pid}/ns/net", "bash", "-c", script],
            check=False, capture_output=True, text=True,
        ).stdout.strip()
        if " 200 " not in answer:
            fail(f"{stage.name}: GET /health on port {tcp[0]}: {answer}")
        say(f"{stage.name}: runs as {stage.user} without capabilities; port {tcp[0]}: {answer}; VmRSS {field['VmRSS']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", default=["signaling", "full"])
    parser.add_argument("--build-arg", action="append", default=[], help="NAME=VALUE, as for docker build")
    parser.add_argument("--prebuilt", action="append", default=[], help="STAGE=PROGRAM: don't compile, take this")
    parser.add_argument("--work", default="/var/tmp/switchboard-image-check")
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--registry", required=True)
    flags = parser.parse_args()
    flags.build_arg = dict(it.split("=", 1) for it in flags.build_arg)
    flags.prebuilt = dict(it.split("=", 1) for it in flags.prebuilt)
    # What the image is for, beside being there: media, through a server of its own. How fast is the machine's matter.
    loose = "--min-fps 1 --max-freeze 30s --max-lost 100 --max-latency-p95 10s --max-audio-gap 60s --max-silence 100"
    flags.then = {"full": [f"probe device --seconds 5 {loose}"]}
    Path(flags.work).mkdir(parents=True, exist_ok=True)
    builder = Builder(flags)
    for target in flags.targets:
        builder.try_out(target)


main()
