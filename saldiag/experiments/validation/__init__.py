"""Why ``val_loss`` does not follow the loss: what is measured while a training validates."""
