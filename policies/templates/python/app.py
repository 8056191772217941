"""What makes a component of policy.py: wit/policy.wit in Python's words."""

import json

from componentize_py_types import Err
from policy import COLUMNS, Policy
from wit_world import exports
from wit_world.imports.types import Decision, Decision_Rank, Needs, Pool, Ranks, Request


class Picker(exports.Picker):
    policy = Policy()

    def configure(self, pool: Pool, settings_json: str) -> Needs:
        try:
            Picker.policy = Policy(**json.loads(settings_json))
        except (TypeError, ValueError) as error:
            # Shown to whoever activates the policy.
            raise Err(str(error))
        return Needs(columns=COLUMNS, headers=[], prompt=True)

    def pick(self, request: Request, ranks: Ranks) -> Decision:
        return Decision_Rank(Picker.policy.pick(request.seed, ranks.rows, ranks.columns))
