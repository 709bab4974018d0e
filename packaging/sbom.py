#!/usr/bin/env python3
"""The parts list of the program, as CycloneDX 1.5 JSON on standard output: every crate that is compiled into
it or runs while it is compiled, with version, licence, checksum, and what needs what. Tests' crates are left out.

Arguments go to `cargo metadata`, as in `--no-default-features --features server`. The same lock file gives the
same list, byte for byte: it carries no date, and its number is made from its content.
"""

import json
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "switchboard")


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def needed(resolve):
    """What each package needs, of those that the program needs itself."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    graph, waiting = {}, [resolve["root"]]
    while waiting:
        package = waiting.pop()
        if package in graph:
            continue
        dependencies = nodes[package]["deps"]
        graph[package] = sorted(
            it["pkg"] for it in dependencies if any(kind["kind"] != "dev" for kind in it["dep_kinds"])
        )
        waiting += graph[package]
    return graph


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["description"]:
        found["description"] = " ".join(package["description"].split())
    if package["license"]:
        # Old manifests write "MIT/Apache-2.0", which means the same.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def main():
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.removeprefix("host: ") for line in rustc.splitlines() if line.startswith("host: "))
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host, *sys.argv[1:]]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    lock = tomllib.loads(Path("Cargo.lock").read_text())["package"]
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in lock}
    packages = {it["id"]: it for it in metadata["packages"]}
    graph = needed(metadata["resolve"])
    root = metadata["resolve"]["root"]
    parts = [component(packages[it], checksums) for it in graph if it != root]
    program = component(packages[root], checksums) | {"type": "application"}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program},
        "components": sorted(parts, key=lambda it: it["bom-ref"]),
        "dependencies": sorted(
            ({"ref": purl(packages[it]), "dependsOn": sorted({purl(packages[on]) for on in needs})}
             for it, needs in graph.items()),
            key=lambda it: it["ref"],
        ),
    }
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(bom, sort_keys=True))}"
    json.dump(bom, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
