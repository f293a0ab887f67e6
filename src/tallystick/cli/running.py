"""Runs jobs of an opened home while somebody may look, and says how to go on when it is interrupted."""

from __future__ import annotations

from tallystick.cli.ending import Outcome, outcome
from tallystick.cli.exits import InterruptionError, explain, say
from tallystick.cli.home import Home
from tallystick.cli.lifecycle import Cast, Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, near, served_words
from tallystick.errors import TallyError
from tallystick.node.delivery import bundle_path
from tallystick.node.ports import Picture


def run_job(home: Home, screen: Screen, life: Lifecycle, job_id: str, picture: Picture | None = None) -> Outcome:
    """Drive a job of this home to its end and read its outcome.

    Raises:
        InterruptionError: somebody pressed Ctrl-C; the job stands where it was.
        TallyError: it cannot go on.
    """
    job = home.node.book.job(job_id)
    if job is not None:
        life.follow(home.node.book.order(job_id, job.attempt).spec)
    life.output = home.node.wishes.get(job_id).output_path
    try:
        with screen.live("the workers get their keys"):
            output = home.node.run(job_id, picture)
    except KeyboardInterrupt as error:
        again = command("jobs", "--resume")
        raise InterruptionError(f"interrupted; job {job_id} loses nothing: `{again}` goes on") from error
    life.close()
    return outcome(job_id, output, home.node.ports.desk.read(bundle_path(output)))


def resume(home: Home, screen: Screen, life: Lifecycle) -> tuple[list[Outcome], list[tuple[str, Exception]]]:
    """Bring every unfinished job of a home to its end; what cannot go on is returned with its error, and stays.

    What was ordered from workers on other machines is left to the home's node, and said to be.
    """
    done: list[Outcome] = []
    failed: list[tuple[str, Exception]] = []
    unfinished = home.node.wishes.unfinished()
    local = [job_id for job_id in unfinished if home.node.wishes.get(job_id).local]
    if len(local) < len(unfinished):
        say(served_words(len(unfinished) - len(local)))
    for job_id in local:
        screen.note(f"Job {job_id} was interrupted and goes on", style="bold")
        try:
            ended = run_job(home, screen, life, job_id)
        except (TallyError, OSError) as error:
            failed.append((job_id, error))
            say(f"job {job_id} cannot go on: {explain(error)}")
            continue
        done.append(ended)
        screen.note(f"Job {job_id} is done: {near(ended.output)}", style="green")
    return done, failed


def meet(home: Home, life: Lifecycle) -> None:
    """Tell the log who the keys of an opened home are."""
    life.cast.names.update(Cast.of(home.identity).names)
