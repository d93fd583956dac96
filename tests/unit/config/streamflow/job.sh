#!/bin/sh
#SBATCH --partition=gpu
module load cuda
{{streamflow_command}}
