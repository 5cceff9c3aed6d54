"""What published systems need and nothing else does: their networks, and three switches of a recipe that only a replica wants.

    field             what such a system does                   where the training loop asks
    loss = "sum"      adds its loss up over a batch             TrainState.gradients: `switches.loss_share`
    order = "fixed"   shuffles once, for all epochs and seeds   data.batches.Batches: `switches.fixed_order`
    peek              reads the test set while it trains        training.loop.fit: `peeking.Peeks`

Where none of them is set the loop is as if they were not there.
"""
