"""The worker: a process that runs the app on connections that it borrows from the master."""
