#!/usr/bin/env python3
"""What the program is made of: every crate that is compiled into it or runs while it is compiled. Tests' crates are
left out.

`parts.py sbom` prints the list as CycloneDX 1.5 JSON, with versions, licences, checksums, and what needs what. The same
lock file gives the same list, byte for byte: it carries no date, and its number is made from its content.
`parts.py licences` prints the texts of the licences, as whoever passes the program on must.

Further arguments go to `cargo metadata`, as in `--no-default-features --features server`.
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


def read(arguments):
    """The packages by their ids, what each needs, and the id of the program itself."""
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.removeprefix("host: ") for line in rustc.splitlines() if line.startswith("host: "))
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host, *arguments]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {it["id"]: it for it in metadata["packages"]}
    return packages, needed(metadata["resolve"]), metadata["resolve"]["root"]


def sbom(packages, graph, root):
    lock = tomllib.loads(Path("Cargo.lock").read_text())["package"]
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in lock}
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


def licences(packages, graph, root):
    # Most texts are the same; each is printed once, after the names of all that have it.
    names, without = {}, []
    for part in sorted((packages[it] for it in graph if it != root), key=purl):
        name = f"{part['name']} {part['version']} ({part['license']})"
        found = sorted(it for it in Path(part["manifest_path"]).parent.iterdir() if is_licence(it))
        for file in found:
            names.setdefault(file.read_text(errors="replace").strip(), []).append(name)
        if not found:
            without.append(name)
    for text, of in sorted(names.items(), key=lambda it: it[1]):
        print("\n".join(of), "\n", text, "\n", "-" * 78, sep="\n")
    print("These carry no text of their own beside the name of their licence:\n")
    print("\n".join(without))


def is_licence(file):
    return file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def main():
    prints = {"sbom": sbom, "licences": licences}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if prints is None:
        sys.exit("parts: say sbom or licences")
    prints(*read(sys.argv[2:]))


main()
