"""rankwise in front of a real vLLM with two dp ranks, behind one server or each behind its own: checks that what it says is what happened there.

Started by `run`; needs a server that `engine start` started, with nobody else using it.
"""
import argparse
import subprocess
import sys

import steps
from conversations import Conversations
from harness import Failed, Rankwise, Vllm


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rankwise", required=True, help="the binary")
    arguments.add_argument("--engine", required=True, help="the script that kills and starts vLLM")
    arguments.add_argument("--worker", required=True, action="append", help="the URL of a server of vLLM's")
    arguments.add_argument("--log", required=True, help="file for rankwise's log")
    arguments.add_argument("--chats", type=int, default=200, help="of the sequential and of the concurrent step")
    arguments.add_argument("--shapes", type=int, default=500, help="requests of all shapes of the parity step")
    arguments.add_argument("--skip", default="", help="steps to leave out, separated by commas")
    given = arguments.parse_args()
    vllm = Vllm(given.worker, given.engine)
    with open(given.log, "w") as log:
        rankwise = Rankwise(given.rankwise, given.worker, log)
        named = {
            "discovery": lambda: steps.discovery(rankwise, vllm),
            "sequential": lambda: steps.sequential(rankwise, vllm, "sequential", given.chats, 10),
            "concurrent": lambda: steps.concurrent(rankwise, vllm, "concurrent", given.chats, Conversations.small, 0.97),
            "crowded": lambda: steps.concurrent(rankwise, vllm, "concurrent, caches overflow", given.chats, Conversations, 0),
            "after": lambda: steps.sequential(rankwise, vllm, "after concurrent", 30, 11),
            "parity": lambda: steps.parity(rankwise, vllm, given.shapes),
            "kept": lambda: steps.kept(rankwise, vllm),
            "own": lambda: steps.own_choice(rankwise, vllm),
            "restart": lambda: steps.restart(rankwise, vllm, 4, steps.killed),
            "again": lambda: steps.sequential(rankwise, vllm, "after restart", 30, 10),
            "rank": lambda: steps.restart(rankwise, vllm, 4, steps.rank_killed),
            "anew": lambda: steps.sequential(rankwise, vllm, "after a rank's death", 30, 12),
        }
        if len(given.worker) > 1:
            # Each rank is a server: there is no other process to kill.
            del named["rank"], named["anew"]
        try:
            for name, step in named.items():
                if name not in given.skip.split(","):
                    step()
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"failed: {error}")
        finally:
            rankwise.stop()
    print("passed", flush=True)


if __name__ == "__main__":
    main()
