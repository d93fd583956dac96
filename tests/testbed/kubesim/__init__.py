# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A test double of a Kubernetes API server with one node.

The REST API is served in process; pods run for real, by ``podman kube play``. kubectl and the Python clients
kubernetes and kubernetes_asyncio talk to it unchanged: create/apply/get/list/watch/patch/delete of namespaces,
pods, jobs, config maps, secrets, volume claims, ...; pod logs (also followed), exec and attach over websocket.
Manifests are checked against the schemas of upstream (kubernetes-validate).

It is NOT a real API server: no RBAC, no admission but quotas and service accounts; no Services, no DNS; the pods of
Jobs have no network; answers are JSON; restart policies are podman's business.

It runs without airflow_hybrid, with what requirements-kube.txt names::

    python -m kubesim --host 127.0.0.1 --port 0 --state DIR --kubeconfig FILE [--tls CERT KEY CA --token TOKEN]

From the bottom: objects (values), storage and selectors; quotas, admission and defaults (what becomes of a new
object); node (the lives of pods, by podman); cluster (creates and deletes, and starts what follows from it);
controllers (of Jobs and Deployments); server (HTTP: discovery, watches, streams, and the harm that tests do).
"""
