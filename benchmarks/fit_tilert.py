"""Fit the four figures of zcube/llm/decode_node/tilert-b200.toml to TileRT's published speeds and print them with their errors.

    python benchmarks/fit_tilert.py

Relative errors of the time per step, least squares, eight points. Leave-one-out: fit to seven, predict the eighth. The inferred
figures keep the values in the file; ``--sensitivity`` fits again with others. Needs scipy.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import least_squares

from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import CONVENTIONAL, load_node
from zcube.llm.decode_node.published import ACCEPTED_TOKENS, CONVENTIONAL_POINTS, TILERT_POINTS
from zcube.llm.decode_node.step import ideas, step

CARD = load_card("glm-5.1")
NODE = load_node("tilert-b200")
#: Figure -> lowest and highest value that is plausible.
BOUNDS = {"memory_share": (0.3, 1.0), "stage_us": (0.2, 10.0), "select_us": (0.2, 50.0), "index_share": (0.02, 1.0)}


def published_s(point):
    return (ACCEPTED_TOKENS if point.drafts else 1.0) / point.tokens_per_s


def errors(node, points):
    """Return the relative errors of the time per step."""
    model = np.array([step(CARD, node, point.context_tokens, point.drafts).total_s for point in points])
    return model / np.array([published_s(point) for point in points]) - 1


def fit(node, points):
    """Return the node with its fitted figures, rounded to three digits."""
    names = list(BOUNDS)
    low, high = np.log([BOUNDS[name] for name in names]).T

    def with_figures(x):
        return node.model_copy(update=dict(zip(names, (float(value) for value in np.exp(x)))))

    start = np.clip(np.log([getattr(node, name) for name in names]), low + 1e-6, high - 1e-6)
    found = least_squares(lambda x: errors(with_figures(x), points), start, bounds=(low, high), x_scale="jac")
    return node.model_copy(update={name: float(f"{value:.3g}") for name, value in zip(names, np.exp(found.x))})


def summary(found):
    size = np.abs(found)
    return f"median {np.median(size):.3f} p90 {np.quantile(size, 0.9):.3f} mape {size.mean():.3f} largest {size.max():.3f}"


def show_sensitivity():
    print("\n# inferred figure = value: fitted figures, in-sample error")
    for name, values in {"overlap": (0.0, 0.5, 1.0), "signal_us": (0.75, 3.0)}.items():
        for value in values:
            node = fit(NODE.model_copy(update={name: value}), TILERT_POINTS)
            figures = ", ".join(f"{key} {getattr(node, key)}" for key in BOUNDS)
            print(f"# {name} = {value}: {figures}: {summary(errors(node, TILERT_POINTS))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sensitivity", action="store_true", help="fit again with other inferred figures")
    arguments = parser.parse_args()
    node = fit(NODE, TILERT_POINTS)
    for name in BOUNDS:
        print(f"{name} = {getattr(node, name)}")
    inside = errors(node, TILERT_POINTS)
    outside = []
    for left_out in TILERT_POINTS:
        others = [point for point in TILERT_POINTS if point is not left_out]
        outside.append(errors(fit(NODE, others), [left_out])[0])
    print("\n# input K, drafts: published ms, error in-sample, error left out")
    for point, one, other in zip(TILERT_POINTS, inside, outside):
        print(f"# {point.input_ktokens:4d} {point.drafts}: {1e3 * published_s(point):5.2f} {one:+.3f} {other:+.3f}")
    print(f"# in-sample     {summary(inside)}\n# leave-one-out {summary(np.array(outside))}")
    print("\n# effect of each idea, ms a step")
    for ktokens in (1, 32, 64, 192):
        chain = ideas(CARD, node, 1024 * ktokens + 512)
        print(f"# {ktokens:4d}K " + ", ".join(f"{effect.name} {1e3 * effect.step.total_s:.2f}" for effect in chain))
    print("\n# conventional engine, nothing fitted: published tok/s, model (accepted tokens assumed)")
    for point in CONVENTIONAL_POINTS:
        made = step(CARD, node, point.context_tokens, point.drafts, ideas=CONVENTIONAL)
        model = made.tokens_per_s(ACCEPTED_TOKENS if point.drafts else 1.0)
        name = f"{point.engine} {point.input_ktokens:4d}K {point.drafts}"
        print(f"# {name}: {point.tokens_per_s:.0f} {model:.0f} {model / point.tokens_per_s:.2f}")
    if arguments.sensitivity:
        show_sensitivity()


if __name__ == "__main__":
    main()
