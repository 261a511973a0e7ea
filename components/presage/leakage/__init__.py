"""Whether anything of the future reaches what a job learns from: each check a function over values, with a finding."""
