"""From a request to runs: what fits (costs, shares), the plan, its execution, seconds to an accuracy."""
