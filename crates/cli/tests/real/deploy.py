"""Renders the Helm chart and the systemd units, and holds them against what reads them.

    deploy.py HELM CHART SINEW

What helm renders has to fit the published schemas of Kubernetes 1.34, strictly, and every command
line in it has to be one that this sinew reads. The official NATS chart is not to be had in a test,
so a chart without anything stands in its place: what is in it is not looked at.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

HELM, CHART, SINEW = sys.argv[1:]
VERSION = "1.34"
HELM_TIME = 60

AGENT = {
    "image": "example/cto:3", "command": ["/usr/bin/cto", "--fast"],
    "credentials": {"secret": "sinew-cto"},
}
PLAIN = {"url": "nats://nats.example:4222", "credentials": {"secret": "sinew-server"}}
FULL = {
    **PLAIN,
    "org": "acme",
    "tls": {"secret": "sinew-tls", "mutual": True},
    "signatures": "require",
    "trust": {"secret": "sinew-trust"},
    "imagePullSecrets": [{"name": "registry"}],
    "server": {
        "replicas": 3, "topology": "[streams.AGENT_TASKS]\nmax_msgs = 50000\n",
        "team": "[roles.cto]\nmaximum = 3\n", "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "agents", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "annotations": {"example/note": "a \"quoted\" one"},
    },
    "networkPolicy": {"healthFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    "serviceAccount": {"annotations": {"example/role": "x"}},
    "agents": {
        "cto": {**AGENT, "replicas": 0, "concurrency": 2, "drain": "90s",
                "env": {"N": 1}, "resources": {"limits": {"memory": "64Mi"}}},
        "qa": AGENT,
    },
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "sinew"
        shutil.copytree(CHART, chart)
        beside = chart / "charts" / "nats"
        beside.mkdir(parents=True)
        (beside / "Chart.yaml").write_text("apiVersion: v2\nname: nats\nversion: 2.0.0\n")
        for name, values in [("plain", PLAIN), ("full", FULL)]:
            objects = render(chart, values)
            for each in objects:
                kubernetes_validate.validate(each, VERSION, strict=True)
            print(name, sorted(f"{it['kind']}/{it['metadata']['name']}" for it in objects))
            selectors_select(objects)
            commands_are_read(objects)
        with_servers = render(chart, {"nats": {"enabled": True}, "credentials": {"secret": "a"}})
        assert environment(with_servers, "x-sinew")["SINEW_URL"] == "nats://x-nats:4222"
        full = environment(render(chart, FULL), "x-cto")
        assert full["SINEW_TLS_KEY"] == "/etc/sinew/tls/tls.key" and full["N"] == "1", full
        for values, sentence in [
            ({"credentials": {"secret": "a"}}, "say where the NATS servers are"),
            ({"url": "nats://a"}, "credentials.secret"),
            ({**PLAIN, "agents": {"cto": {**AGENT, "image": None}}}, "agents.cto.image"),
            ({**PLAIN, "agents": {"cto": {**AGENT, "credentials": None}}}, "agents.cto.credentials"),
        ]:
            refused = template(chart, values)
            assert refused.returncode != 0 and sentence in refused.stderr, refused
        lint = helm("lint", chart, "--strict", "--values", values_file(chart, FULL))
        assert lint.returncode == 0, lint
    print("the chart is sound")


def render(chart, values):
    run = template(chart, values)
    assert run.returncode == 0, run.stderr
    return [it for it in yaml.safe_load_all(run.stdout) if it]


def template(chart, values):
    return helm("template", "x", chart, "--kube-version", VERSION,
                "--values", values_file(chart, values))


def values_file(chart, values):
    path = chart.parent / "values.json"
    path.write_text(json.dumps(values))
    return path


def helm(*words):
    return subprocess.run([HELM, *map(str, words)], capture_output=True, text=True,
                          timeout=HELM_TIME)


def pods(objects):
    return {it["metadata"]["name"]: it["spec"]["template"]
            for it in objects if it["kind"] == "Deployment"}


def environment(objects, name):
    [container] = pods(objects)[name]["spec"]["containers"]
    return {it["name"]: it.get("value") for it in container["env"]}


def selectors_select(objects):
    """Every selector finds the pods of exactly one Deployment."""
    labels = [pod["metadata"]["labels"] for pod in pods(objects).values()]
    for each in objects:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            wanted = selector["matchLabels"].items()
            assert sum(wanted <= have.items() for have in labels) == 1, each


def commands_are_read(objects):
    """`--help` behind the flags prints help only if every flag before it is known."""
    for pod in pods(objects).values():
        [container] = pod["spec"]["containers"]
        words = container.get("command", ["sinew"])[1:] + container.get("args", [])
        words = words[: words.index("--")] if "--" in words else words
        read = subprocess.run([SINEW, *words, "--help"], capture_output=True, text=True,
                              timeout=HELM_TIME)
        assert read.returncode == 0 and "Usage:" in read.stdout, (words, read)


main()
