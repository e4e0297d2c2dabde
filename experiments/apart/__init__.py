"""One connection after the other, the application on one core and its module on another: does one wait?"""
