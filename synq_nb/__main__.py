"`python -m synq_nb`, the `synq` command for launchers of several processes"
from synq_nb.cli import main
raise SystemExit(main())
