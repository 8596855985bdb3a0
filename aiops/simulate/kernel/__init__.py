"""The compiled inner loop of the simulated factory: engines, their KV blocks, their router, their clock.

``layout`` names the arrays that hold it all; ``events.advance`` runs it. Everything else in aiops goes through
``aiops.simulate.fleet``.
"""
