"""NSGA-II over ATOP's hyper-parameters: fabrics that no family has."""
