"""Test-time fine-tuning: latents, adapters and singular values of one image, lowered by a task's loss and the rate.

`ttft` is the way in; `phases` and `pace` hold the schedule, `objective` the cost, `candidates` what is sent.
"""
