"""What makes gradients and steps: plain torch, or DeepSpeed."""
