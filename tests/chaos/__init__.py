"""Kill anything: faults as operations that assert that they happened, on a whole site under load.

    caller.py    asks and remembers, in a process of its own; reads results by id in another
    worker.py    a `colm` command whose engine keeps a journal of every generation
    journal.py   what the engines began and finished: what is in flight, what was done again
    site.py      the services and the processes, to be killed and started again
    stages.py    waits until the queries have come to the stage at which the fault is wanted
    faults*.py   the faults
    record.py    what must hold afterwards, asked of the database in plain SQL
    matrix.py    one fault on one wave of queries; its row of the table

`make test-all` injects a selection, `make chaos` all.
"""
