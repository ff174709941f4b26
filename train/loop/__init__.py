"""Steps, schedules, distribution, evaluation."""
