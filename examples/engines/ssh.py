#!/usr/bin/env python3
"""Jobs of another machine's perdura file: the big box runs `perdura --db DB work`, this machine keeps the truth.

    ssh.py HOST DB start|poll|cancel|collect|forget

The spec is {"argv": ["program", "arg", …], "env": {"NAME": "value", …}}. A job's id is its unique key there, and stays taken for 30 days, so it is started once.
What the job writes is its log; its last line, if that is JSON, is its result.
"""
import json, os, shlex, subprocess, sys

host, db, call = sys.argv[1:4]
ask = json.load(sys.stdin)
SSH = shlex.split(os.environ.get("PERDURA_SSH", "ssh -o BatchMode=yes -o ConnectTimeout=10"))

def perdura(*words):
    remote = shlex.join([os.environ.get("PERDURA_REMOTE", "perdura"), "--db", db, *words])
    done = subprocess.run(["timeout", "25", *SSH, host, remote], capture_output=True, text=True)
    if done.returncode not in (0, 1, 2, 3):
        sys.exit(f"{words[0]} ended with {done.returncode}: {done.stderr}")  # no connection, no perdura, or its file cannot be used
    return done

def tasks(*which):
    listed = perdura("list", "--json", "--limit", "100000", "--queue", "outside", *which).stdout
    return {task["tag"]: task for task in map(json.loads, listed.splitlines())}

def start(job, spec):
    argv, env = (spec.get("argv"), spec.get("env", {})) if isinstance(spec, dict) else (None, {})
    words = [*argv, *env.values()] if isinstance(argv, list) and isinstance(env, dict) else []
    if not argv or set(spec) - {"argv", "env"} or not words or not all(isinstance(word, str) for word in words):
        return {"refused": 'the spec takes {"argv": ["program", …], "env": {"NAME": "value", …}}'}
    options = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
    added = perdura("add", "--queue", "outside", "--unique", job, "--for", "30d", "--tag", job, "--max-attempts", "1", *options, "--", *argv)
    return {"refused": added.stderr.strip()} if added.returncode else {}

def status(task):
    error = {"error_type": task["error_type"] or "JobFailed", "message": task["error_message"] or ""}
    return {"QUEUED": {"status": "pending"}, "RUNNING": {"status": "running"}, "SUCCEEDED": {"status": "succeeded"},
            "FAILED": {"status": "failed", **error}, "CANCELLED": {"status": "cancelled"},
            "LOST": {"status": "lost", "message": error["message"]}}[task["state"]]

def poll(jobs):
    there = tasks(*(["--tag", jobs[0]] if len(jobs) == 1 else []))
    return {job: status(there[job]) if job in there else {"status": "absent"} for job in jobs}

def cancel(job):
    for task in tasks("--tag", job).values():
        perdura("cancel", str(task["task_id"]))
    return {}

def collect(job):
    log = "".join(perdura("show", str(task["task_id"]), "--only", "stdout").stdout for task in tasks("--tag", job).values())
    try:
        return {"log": log[-1000000:], "result": json.loads(log.strip().splitlines()[-1])}
    except (ValueError, IndexError):
        return {"log": log[-1000000:]}

forget = lambda job: {}  # a deleted job would give its key back
json.dump(globals()[call](*ask.values()), sys.stdout)
