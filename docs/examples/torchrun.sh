#!/usr/bin/env bash
# Parts of a run as processes of torchrun, one GPU each:
# torchrun --nnodes 2 --nproc-per-node 8 --no-python torchrun.sh MODEL [OPTIONS OF mrb run]
set -euo pipefail
export CUDA_VISIBLE_DEVICES=$LOCAL_RANK
exec mrb run --model "$1" --shard "$((RANK + 1))/$WORLD_SIZE" "${@:2}"
