from understudy.run import RunDirectory
def write_report(run: RunDirectory) -> None:
    run.report.write_text("todo")
