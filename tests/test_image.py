"""deploy/Dockerfile: the linter has nothing to say, and it agrees with what else is shipped. `make image` builds it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from cli_bed import DEADLINE_S, ROOT
from kubernetes_bed import BASE, daemon_of, pod_of, render

from flowd import __version__
from flowd.relay.config import load_config

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its text, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, text) for name, _, text in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The instructions of the stage that builds, and of the image."""
    found = instructions()
    first, second = (n for n, (name, _) in enumerate(found) if name == "FROM")
    return found[first:second], found[second:]


def packages(stage: list[tuple[str, str]]) -> set[str]:
    """The Debian packages that a stage installs."""
    (listed,) = re.findall(r"apt-get install -y --no-install-recommends ([^&]+)", " ".join(text for _, text in stage))
    return set(listed.split())


def test_the_linter_has_nothing_to_say() -> None:
    command = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [command, "--failure-threshold", "info", DOCKERFILE],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_built_with_what_make_builds_with_and_runs_with_its_libraries_alone() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (system,) = re.findall(r"^SYSTEM := (.+) \$\(LINEAR\)$", makefile, re.MULTILINE)
    (linear,) = re.findall(r"^LINEAR := \$\(if .*,(.+),libvectorscan-dev\)$", makefile, re.MULTILINE)
    build, image = stages()
    assert {*system.split(), *linear.split()} <= packages(build)
    assert packages(image) == {"libonig5", "libhyperscan5", "python3"}
    assert not any("pip" in text or "apt" in text.split() for name, text in image if name == "COPY")


def test_its_base_and_its_version_are_named() -> None:
    named = dict(text.split("=", 1) for name, text in instructions() if name == "ARG" and "=" in text)
    base, _, tag = named["BASE"].partition(":")
    assert (base, tag) == ("debian", "trixie-slim")
    assert named["VERSION"] == __version__


def test_its_user_is_that_of_the_manifests() -> None:
    _, image = stages()
    settings = dict(image)
    resources = render(BASE)
    context = pod_of(resources)["securityContext"]
    assert settings["USER"] == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert daemon_of(resources)["image"] == f"flowd:{__version__}"


def test_its_directories_are_those_of_the_manifests() -> None:
    _, image = stages()
    (text,) = [text for name, text in image if name == "ENV"]
    variables = dict(pair.split("=", 1) for pair in shlex.split(text))
    runtime = load_config(None, {}, variables).runtime
    mounts = {mount["name"]: mount["mountPath"] for mount in daemon_of(render(BASE))["volumeMounts"]}
    assert (runtime.dir, runtime.state_dir) == (mounts["runtime"], mounts["state"])
    assert dict(image)["VOLUME"] == f'["{runtime.dir}", "{runtime.state_dir}"]'


def test_all_that_is_copied_is_let_through() -> None:
    build, _ = stages()
    copied = {source for name, text in build if name == "COPY" for source in text.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
