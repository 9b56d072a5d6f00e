#!/bin/sh
# Eight shards of one sweep as a job array, and a job after it that merges them:
#   sh deploy/slurm-array.sh [SCENARIO [FOLDER]]
# The folder is to be seen by all nodes. A shard that was requeued goes on where it was.
set -eu
scenario=${1:-mixed-layout}
folder=${2:-$PWD/runs/$scenario-shards}
shards=${SHARDS:-8}
killpoint=${KILLPOINT:-killpoint}

array=$(sbatch --parsable --array="1-$shards" --cpus-per-task=2 --requeue --job-name=killpoint --wrap "
    $killpoint sweep '$scenario' --seed ${SEED:-1} --no-progress \
        --shard \$SLURM_ARRAY_TASK_ID/$shards --run-dir '$folder'/\$SLURM_ARRAY_TASK_ID
    [ \$? -le 1 ]")
# Also where a shard failed: what is missing is named then.
sbatch --dependency="afterany:$array" --job-name=killpoint-report --wrap "
    $killpoint report '$folder'/[0-9]* --run-dir '$folder'/whole"
