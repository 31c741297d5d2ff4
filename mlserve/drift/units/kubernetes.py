"""A CronJob for Kubernetes: never two at once, an answer is not tried again, and the registry's URL is a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlserve.drift.units.plan import EXITS, Unit, UnitPlan
from mlserve.drift.units.schedule import Schedule

SECRET = "mlserve"
ANSWERS = (5, 7, 10, 11, 12, 20, 21)
"""Exits that another pod would only give again."""

_MANIFEST = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: mlserve
    app.kubernetes.io/component: drift
spec:
  schedule: {schedule}
  timeZone: {zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 7
  jobTemplate:
    spec:
      activeDeadlineSeconds: {deadline}
      backoffLimit: 2
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes:
              containerName: drift
              operator: In
              values: [{answers}]
      template:
        spec:
          restartPolicy: Never
          securityContext:
            runAsNonRoot: true
            runAsUser: 1000
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: drift
              image: {image}
              command: {command}
              envFrom:
                - configMapRef:
                    name: {secret}
                    optional: true
              env:
                - name: MLSERVE_DRIFT__FOLDER
                  value: /tmp/drift
                - name: MLSERVE_REGISTRY
                  valueFrom:
                    secretKeyRef:
                      name: {secret}
                      key: registry
                - name: MLSERVE_ARTIFACTS
                  valueFrom:
                    secretKeyRef:
                      name: {secret}
                      key: artifacts
                - name: HOME
                  value: /tmp
              workingDir: /tmp
              resources:
                requests:
                  cpu: 500m
                  memory: 1Gi
                limits:
                  cpu: "2"
                  memory: 4Gi
              securityContext:
                allowPrivilegeEscalation: false
                capabilities:
                  drop: [ALL]
"""


def kubernetes(plan: UnitPlan) -> list[Unit]:
    """The manifest, with a second CronJob for what quiet hours held back."""
    comments = [
        f"drift check of {plan.ref}; needs a secret first:",
        f"  kubectl create secret generic {SECRET} --from-literal=registry=… --from-literal=artifacts=…",
        f"A config map '{SECRET}' holds settings, such as MLSERVE_DRIFT__ON_CRITICAL=freeze; mount captures.",
        *EXITS.splitlines(),
    ]
    text = "".join(f"# {line}\n" for line in comments) + _job(plan, plan.name, plan.words, plan.schedule)
    if plan.waiting is not None:
        waiting = plan.waiting_command[3:]
        text += "---\n" + _job(plan, plan.name[:44].rstrip("-") + "-waiting", waiting, plan.waiting)
    return [Unit(f"{plan.name}.yaml", text)]


def _job(plan: UnitPlan, name: str, words: Sequence[str], schedule: Schedule) -> str:
    # A JSON text is a YAML one, whatever characters are in it.
    return _MANIFEST.format(
        name=name,
        schedule=json.dumps(schedule.cron),
        zone=json.dumps(schedule.zone or "Etc/UTC"),
        deadline=int(plan.limit_s),
        answers=", ".join(map(str, ANSWERS)),
        image=json.dumps(plan.image or "mlserve"),
        command=json.dumps(["python", "-m", "mlserve", *words]),
        secret=SECRET,
    )
