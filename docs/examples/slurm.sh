#!/usr/bin/env bash
# Shards of a run as a SLURM array: sbatch slurm.sh MODEL [OPTIONS OF mrb run]
# The working folder must be on a file system that all nodes share. A shard that was stopped continues when it is
# submitted again, also alone: sbatch --array=3 slurm.sh MODEL ...
#SBATCH --job-name=mrb
#SBATCH --array=1-4
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
set -euo pipefail
parts=4 # as many as --array has; SLURM's own count is 1 where one part is submitted again
exec mrb run --model "$1" --shard "$SLURM_ARRAY_TASK_ID/$parts" "${@:2}"
