"""Measures what guests cost: a declared matrix of real QEMUs and loads, and what was seen of each.

``matrix`` reads what is to be measured, ``dataset`` keeps what was; the report and the fitted model read it from there.
"""
