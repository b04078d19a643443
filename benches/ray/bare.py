"""Runs jobs on a Ray cluster with its own client, a few at a time: bare.py ADDRESS JOBS AT_ONCE INTERVAL ENTRYPOINT

It prints for each job when it was submitted, accepted, seen to run and seen to have ended, in seconds; then the processor time that it took itself.
"""
import resource, sys, time
from ray.job_submission import JobStatus, JobSubmissionClient

address, jobs, at_once, interval, entrypoint = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
client = JobSubmissionClient(address)
before, began = used(), time.monotonic()
since = lambda: time.monotonic() - began
submitted, under_way = 0, {}
while submitted < jobs or under_way:
    while submitted < jobs and len(under_way) < at_once:
        at = since()
        job = client.submit_job(entrypoint=entrypoint)
        under_way[job] = [at, since()]
        submitted += 1
    time.sleep(interval)
    for job, times in list(under_way.items()):
        status = client.get_job_status(job)
        if status != JobStatus.PENDING and len(times) == 2:
            times.append(since())
        if status.is_terminal():
            assert status == JobStatus.SUCCEEDED, status
            client.get_job_logs(job)
            client.delete_job(job)
            print(*under_way.pop(job), since())
print("used", used() - before)
