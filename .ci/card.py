"Draw nbs/social-card.png, the picture a link to the site shows: python .ci/card.py"
import numpy as np, matplotlib; matplotlib.use('agg')
import matplotlib.pyplot as plt
from pathlib import Path

blue,orange = '#0072B2','#D55E00'   # Okabe and Ito's palette, safe for colour-blind readers
words = 'Zero-shot quantisation:\na trained classifier and a bit-width in, no data,\na low-bit model out'
fig = plt.figure(figsize=(12, 6.3), dpi=100)
fig.text(.06, .79, 'synq_nb', size=64, weight='bold', color=blue)
fig.text(.06, .47, words, size=27, linespacing=1.4)
ax = fig.add_axes((0, .02, 1, .4)); ax.axis('off'); ax.margins(0, .1)
x = np.linspace(0, 1, 1200)
y = np.sin(2*np.pi*x)*np.exp(-x)
ax.plot(x, np.round(y*4)/4, color=orange, lw=4)
ax.plot(x, y, color=blue, lw=4)
fig.savefig(Path(__file__).parents[1]/'nbs/social-card.png')
