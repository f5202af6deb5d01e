"""Hooks of schemathesis: bodies that get far, and a count of the requests really sent.

Random times are hardly ever in order, so most bodies get theirs set; the rest stay as they came.
Which ones is drawn from the body itself, so that a seed repeats a run.
"""

import atexit
import datetime
import json
import os
import threading
import zlib

import schemathesis

LOCK = threading.Lock()
COUNTS = {}


def at(seconds):
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def draw(body, sides):
    return zlib.crc32(json.dumps(body, sort_keys=True, default=str).encode()) % sides


def in_order(body):
    opens, closes, ends, claims = [(-1, 600, 700, 900), (-1, 2, 2, 30), (300, 400, 500, 900)][draw(body, 3)]
    times = {
        "signup_opens_at": at(opens),
        "signup_closes_at": at(closes),
        "tasks_end_at": at(ends),
        "claim_closes_at": at(claims),
    }
    return {**body, **{name: time for name, time in times.items() if isinstance(body.get(name), str)}}


def of_now(event):
    if not isinstance(event, dict) or draw(event, 4) == 0:
        return event
    known = {"occurred_at": at(0), "room_id": "room-1", "user_id": "ann"}
    return {**event, **{name: value for name, value in known.items() if isinstance(event.get(name), str)}}


@schemathesis.hook
def map_body(context, body):
    path = context.operation.path
    if path == "/v1/admin/contests" and isinstance(body, dict) and draw(body, 4) > 0:
        return in_order(body)
    if path == "/v1/task-events" and isinstance(body, list):
        return [of_now(event) for event in body]
    return body


@schemathesis.hook
def after_call(context, case, response):
    key = f"{case.operation.method.upper()} {case.operation.path}"
    with LOCK:
        counts = COUNTS.setdefault(key, {})
        status = str(response.status_code)
        counts[status] = counts.get(status, 0) + 1


@atexit.register
def write():
    with open(os.environ["GUAFEN_FUZZ_COUNTS"], "w", encoding="utf-8") as file:
        json.dump(COUNTS, file)
