"""Whatever happens to a job, in whatever order, what must never happen does not."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mmrlhf_api.constants import FailureReason, Reason
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import TERMINAL, ProgressReport
from tests.unit.operator.world import World, job_body

REASONS = {*Reason, *FailureReason, *OperatorReason}

_POLICIES = st.fixed_dictionaries(
    {
        "maxRestarts": st.integers(0, 3),
        "backoffSeconds": st.sampled_from([0, 10]),
        "cleanPodPolicy": st.sampled_from(["Running", "All", "None"]),
    },
    optional={
        "maxFreeRestarts": st.sampled_from([0, 1, 5]),
        "suspend": st.booleans(),
        "activeDeadlineSeconds": st.sampled_from([50, 500]),
        "pendingDeadlineSeconds": st.sampled_from([30, 300]),
        "stallTimeoutSeconds": st.sampled_from([20, 200]),
        "ttlSecondsAfterFinished": st.sampled_from([0, 100]),
        "failureRules": st.sampled_from(
            [
                [{"exitCodes": [1], "action": "RestartJob"}],
                [{"reasons": ["Killed"], "action": "RestartJobFree"}],
                [{"reasons": ["NodeLost", "PodDeleted"], "action": "RestartJob"}],
            ]
        ),
    },
)

_SELDOM = st.sampled_from([False, False, False, True])
_WAITING = st.sampled_from(["ImagePullBackOff", "CreateContainerConfigError", "ContainerCreating"])


class History(RuleBasedStateMachine):
    """A cluster in which anything may happen between two plans, or in the middle of one."""

    @initialize(
        nodes=st.integers(1, 3),
        policy=_POLICIES,
        progress=st.booleans(),
        cancels=_SELDOM,
        waits=_SELDOM,
        failures=st.none() | st.integers(0, 2),
    )
    def begin(
        self,
        nodes: int,
        policy: dict[str, Any],
        progress: bool,
        cancels: bool,
        waits: bool,
        failures: int | None,
    ) -> None:
        reward = {"reward": {"jobName": "judge"}} if waits else {}
        self.there = World(job_body(resources__nodes=nodes, runPolicy=policy, **reward))
        if waits:
            self.there.train_reward("Running")
        self.waits = waits
        self.there.listening_since = self.there.now if progress else None
        self.nodes = nodes
        self.cancels = cancels  # or else most histories would be short
        self.ended: dict[str, Any] | None = None
        if failures is not None and not waits:
            self.go_on(1)  # most histories would never come as far
            for _ in range(failures if self.there.pods else 0):
                self.gang_fails_and_starts_again(137)

    @rule(steps=st.none() | st.integers(0, 5))
    def reconcile(self, steps: int | None) -> None:
        before = dict(self.there.status)
        made = self.there.reconcile(steps=steps)
        self._check_step(before)
        assert made.requeue_after is None or made.requeue_after >= 0

    @rule(times=st.integers(1, 3))
    def go_on(self, times: int) -> None:
        """Nothing goes wrong for a while."""
        for _ in range(times):
            self.reconcile(None)
            self.there.run()
        self.reconcile(None)

    @precondition(lambda self: self.there.pods)
    @rule(code=st.sampled_from([0, 1, 137]), seconds=st.sampled_from([0, 61]))
    def gang_ends(self, code: int, seconds: float) -> None:
        """All pods that run end alike, and are seen to."""
        for name in sorted(self.there.pods):
            self.there.finish(name, code)
        self.there.tick(seconds)
        self.reconcile(None)

    @precondition(lambda self: self.there.pods)
    @rule(code=st.sampled_from([1, 137, 143]))
    def gang_fails_and_starts_again(self, code: int) -> None:
        """As the rule above, and then all that a restart takes, if the policy allows one."""
        self.gang_ends(code, 61)
        self.there.vanish()
        self.there.tick(40)
        self.go_on(1)

    @precondition(lambda self: self.there.pods)
    @rule()
    def suspended_for_a_while(self) -> None:
        for suspend in (True, False):
            self.there.edit(runPolicy__suspend=suspend)
            self.reconcile(None)
            self.there.vanish()
        self.go_on(1)

    @precondition(lambda self: self.there.pods)
    @rule(data=st.data())
    def pod_is_deleted_and_it_is_seen(self, data: st.DataObject) -> None:
        self.there.delete(data.draw(st.sampled_from(sorted(self.there.pods))))
        self.reconcile(None)

    @rule(seconds=st.sampled_from([0.5, 1, 9, 19, 61]))
    def tick(self, seconds: float) -> None:
        self.there.tick(seconds)

    @precondition(lambda self: self.there.pods)
    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        there = self.there
        name = data.draw(st.sampled_from(sorted(there.pods)), label="pod")
        event = data.draw(
            st.sampled_from(
                ["run", "run all", "succeed", "fail", "disrupt", "delete", "vanish", "wait", "full"]
            ),
            label="event",
        )
        if event == "run":
            there.run(name)
        elif event == "run all":
            there.run()
        elif event == "succeed":
            there.finish(name)
        elif event == "fail":
            code = data.draw(st.sampled_from([1, 2, 137, 143]), label="exit code")
            said = {"exitCode": code, "reason": "InvalidInput" if code == 2 else "Error"}
            there.finish(name, code, message=json.dumps(said))
        elif event == "disrupt":
            there.disrupt(name)
        elif event == "delete":
            there.delete(name)
        elif event == "vanish":
            there.vanish(name)
        elif event == "wait":
            there.wait(name, data.draw(_WAITING, label="reason"))
        else:
            there.unschedulable(name, "0/1 nodes are available")

    @precondition(lambda self: self.waits)
    @rule(phase=st.sampled_from([None, "Pending", "Failed", "Succeeded"]))
    def reward_job_moves(self, phase: str | None) -> None:
        if phase is None:
            self.there.reward_job = None
        else:
            self.there.train_reward(phase)

    @rule()
    def kubelets_finish(self) -> None:
        self.there.vanish()

    @precondition(lambda self: self.there.pods)
    @rule(data=st.data())
    def lose_a_node(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.there.pods)))
        self.there.lost_nodes.add(f"node-{name}")

    @rule(suspend=st.booleans())
    def toggle(self, suspend: bool) -> None:
        self.there.edit(runPolicy__suspend=suspend)

    @precondition(lambda self: self.cancels)
    @rule(cancel=st.booleans())
    def give_up(self, cancel: bool) -> None:
        """API servers before 1.25 let a user take it back."""
        self.there.edit(runPolicy__cancel=cancel)

    @precondition(lambda self: self.cancels)
    @rule()
    def give_up_and_it_is_seen(self) -> None:
        self.there.edit(runPolicy__cancel=True)
        self.reconcile(None)
        assert self.there.status["phase"] in TERMINAL
        self.reconcile(None)
        if self.there.status["reason"] == Reason.CANCELLED:
            views = [PodView.read(pod) for pod in self.there.pods.values()]
            assert all(view is not None and (view.finished or view.terminating) for view in views)

    @rule(rate=st.sampled_from([1e-6, 2e-6]))
    def edit_the_spec(self, rate: float) -> None:
        self.there.edit(optimizer__learningRate=rate)

    @rule(step=st.integers(0, 100))
    def push_progress(self, step: int) -> None:
        there = self.there
        there.progress = ProgressReport(
            attempt=there.status.get("attempt", 0),
            at=there.now,
            advanced_at=there.now,
            step=step,
            figures={"loss": 0.5},
        )

    @rule(service=st.booleans())
    def remove_an_object(self, service: bool) -> None:
        if service:
            self.there.service = None
        else:
            self.there.network_policy = None

    @rule(pods=st.sampled_from([None, 0, 1, 2]))
    def set_quota(self, pods: int | None) -> None:
        self.there.quota = pods

    @rule(pods=st.sampled_from([0, 1, 2]), steps=st.none() | st.integers(0, 5))
    def quota_is_full_for_a_while(self, pods: int, steps: int | None) -> None:
        self.there.quota = pods
        for _ in range(2):
            self.reconcile(steps)
        self.there.quota = None
        self.there.vanish()
        self.there.tick(61)

    @invariant()
    def pods_are_of_one_attempt(self) -> None:
        assert len(self.there.attempts_alive()) <= 1
        names = [pod["metadata"]["name"] for pod in self.there.pods.values()]
        views = [PodView.read(pod) for pod in self.there.pods.values()]
        assert all(view is not None and view.index < self.nodes for view in views)
        assert len(set(names)) == len(names)

    @invariant()
    def nothing_starts_without_what_it_waits_for(self) -> None:
        if self.there.pods and self.waits:
            assert self.there.config_map is not None
            accepted = json.loads(self.there.config_map["data"]["job.json"])
            assert accepted["spec"]["reward"] == {
                "modelUri": "/shared/runs/default/judge/uid-r/model"
            }

    @invariant()
    def plans_settle(self) -> None:
        """Carried out without a break, a plan leads to one that asks for nothing."""
        copy = World(**{**self.there.__dict__, "history": []})
        copy.pods = json.loads(json.dumps(copy.pods))
        copy.body = json.loads(json.dumps(copy.body))
        if not copy.deleted:
            made = copy.settle(limit=6)
            assert made.requeue_after is None or made.requeue_after >= 0
            if copy.conflicts and copy.status["reason"] == OperatorReason.CREATION_REFUSED:
                # Half a gang holds no quota.
                left = [PodView.read(pod) for pod in copy.pods.values()]
                assert all(view is not None and view.terminating for view in left)
        if self.ended is not None:
            assert copy.status == self.ended

    def _check_step(self, before: dict[str, Any]) -> None:
        after = self.there.status
        if before.get("phase") in TERMINAL:
            assert after == before
        else:
            assert after.get("attempt", 0) >= before.get("attempt", 0)
            assert after.get("attempt", 0) <= before.get("attempt", 0) + 1
            assert after.get("restarts", 0) >= before.get("restarts", 0)
        limit = self.there.body["spec"]["runPolicy"]["maxRestarts"]
        assert after.get("restarts", 0) <= limit
        free = self.there.body["spec"]["runPolicy"].get("maxFreeRestarts", 100)
        assert after.get("freeRestarts", 0) <= free
        if after.get("phase") in TERMINAL and self.ended is None:
            self.ended = dict(after)
        conditions = self.there.conditions
        assert {entry["reason"] for entry in conditions.values()} <= REASONS
        # A sentence goes with the reason, and is no cause of writes of its own.
        assert bool(after.get("message")) == ("phase" in after)
        told = ("phase", "reason", "conditions")
        if [before.get(name) for name in told] == [after.get(name) for name in told]:
            assert after.get("message") == before.get("message")
        generation = self.there.body["metadata"]["generation"]
        for kind, entry in conditions.items():
            earlier = [e for e in before.get("conditions", ()) if e["type"] == kind]
            old: dict[str, Any] = earlier[0] if earlier else {}
            assert entry["message"]
            assert old.get("observedGeneration", 1) <= entry["observedGeneration"] <= generation
            # What is said now is said of the spec that there is now.
            assert entry == old or entry["observedGeneration"] == generation
        truths = {kind for kind, entry in conditions.items() if entry["status"] == "True"}
        assert not {"Succeeded", "Failed"} <= truths
        assert not {"Running", "Restarting"} <= truths
        assert not {"Running", "Suspended"} <= truths
        assert (after.get("phase") == "Running") >= ("Running" in truths)
        self._check_times(before)

    def _check_times(self, before: dict[str, Any]) -> None:
        old = {entry["type"]: entry for entry in before.get("conditions", ())}
        for kind, entry in self.there.conditions.items():
            if kind not in old:
                continue
            moved = entry["lastTransitionTime"] != old[kind]["lastTransitionTime"]
            assert not moved or entry["status"] != old[kind]["status"]


History.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    # Shrinking replays thousands of histories, and thirty steps can be read as they are.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestHistory = History.TestCase
