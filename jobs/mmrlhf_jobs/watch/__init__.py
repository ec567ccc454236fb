"""Who watches the processes of a job, so that one that dies or stands still ends them all."""
