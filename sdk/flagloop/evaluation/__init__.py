"""Pure evaluation: bucketing, operators, rulesets."""
