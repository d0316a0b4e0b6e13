"""Access to the Hub: task data and submissions are pulled, candidate lists are pulled and pushed, all at a commit."""
